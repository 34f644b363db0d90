"""``micgraph doctor``: what is installed here and works, and whether saved directories are whole.

This process imports none of the packages that it looks at: a part that crashes, hangs or was built for another version
is a finding. :mod:`micgraph.doctor.probes` and :mod:`micgraph.doctor.places` run in processes of their own.
"""
