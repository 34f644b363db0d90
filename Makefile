# Every target sets up what it needs; `make test` on a fresh clone is enough.
VENV ?= .venv
PYTHON ?= python3
# A folder of wheels with torch-scatter and torch-sparse, which are optional: PyG's own NeighborLoader wants them.
WHEELS ?= ../shared/wheels

PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: install demo tables test fuzz compat lint types format clean

install: $(STAMP)

# torch goes first and by its exact version, so that no later package can choose another build of it.
# Spark comes along where there is a Java for it; its tests skip elsewhere.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "micgraph needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing micgraph into $(VENV) (a few minutes on a fresh machine)"
	@$(PIP) --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --constraint constraints.txt --editable ".[cpu,serve,tune,report,demo,dev$$(command -v java >/dev/null && echo ,spark)]"
	@if [ -d "$(WHEELS)" ]; then \
	  $(PIP) --no-index --no-deps --find-links "$(WHEELS)" torch-scatter torch-sparse >/dev/null 2>&1 \
	  && ! $(PY) -c 'import torch_sparse' >/dev/null 2>&1 \
	  && $(PY) -m pip uninstall --quiet --yes torch-scatter torch-sparse; true; fi
	@touch $@

demo: install
	@$(PY) examples/quickstart.py

# MicRec's Table 2 on groceries, with the command's other options in ARGS; an interrupted one goes on.
tables: install
	@$(PY) examples/reproduce_micrec.py --table 2 --data complete-journey --seeds 3 $(ARGS)

test: install
	@$(PY) -m pytest

# Mutated logs and configs; ARGS="--inputs 500 --seed 3" and the like. What fails is kept in fuzz-failures/.
fuzz: install
	@$(PY) -m tests.fuzz $(ARGS)

# Other Pythons and versions, in environments under .compat (some gigabytes, kept); ARGS="--only NAME" tries one.
compat: install
	@$(PY) tests/compat $(ARGS)

lint: install
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: install
	@$(PY) -m mypy

format: install
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

clean:
	rm -rf $(VENV) .compat build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
