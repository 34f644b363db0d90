"""What the papers print, for the tables that reproduce them: shares, not percent."""

from __future__ import annotations

from micgraph.experiments import SEEN_TOO

MIC_METRICS = ("recall@20", "ndcg_hits@20", "hr@20", "recall@50", "ndcg_hits@50", "hr@50")
"""Columns of :data:`MIC`; the paper's NDCG is ComiRec's, whose ideal list has only as many hits as the list."""
MIC_ROWS = ("mic_dnn", "gru4rec", "comirec", "mic_dnn + MIC", "gru4rec + MIC", "comirec + MIC")
MIC = {
    "amazon-book": """
        5.608 5.371 12.291  8.885  6.594 18.709
        5.877 5.835 12.545  8.908  6.915 18.949
        6.634 6.023 13.423 10.2574 7.217 19.231
        5.934 5.836 12.828  9.3066 7.077 19.373
        6.0141 5.992 12.997 9.411  7.105 19.535
        7.457 6.195 15.124 11.55   7.889 22.790""",
    "taobao": """
        3.319 12.493 28.417 5.075 14.263 39.31
        4.132 15.449 32.033 6.118 16.084 42.114
        5.065 19.324 38.429 7.115 20.635 48.094
        3.531 13.481 29.592 5.278 15.187 40.324
        4.442 17.995 36.661 6.377 18.999 45.551
        5.642 21.221 41.878 7.861 22.509 51.607""",
    "ml-1m": """
        12.251 36.249 71.688 23.028 38.756 87.245
        12.993 37.033 72.344 24.447 39.888 89.705
        13.001 37.207 73.772 25.043 41.099 90.138
        12.508 36.898 73.841 23.875 40.003 88.907
        13.012 37.603 74.308 25.003 41.309 90.111
        13.322 38.186 76.551 25.927 42.109 91.391""",
    "steam": """
        2.901 4.702 10.308 3.671 5.077 12.031
        2.672 4.557  9.928 4.432 4.997 11.089
        2.753 5.284 11.044 5.021 6.23  13.149
        3.117 4.992 10.554 4.288 5.779 12.608
        2.839 5.703 10.422 4.775 5.413 12.307
        3.009 5.503 11.333 5.123 6.671 14.388""",
}
"""MIC's Table 1: a line a model in the order of :data:`MIC_ROWS`, in percent."""

MIC_ABLATION_METRICS = ("recall@50", "ndcg_hits@50", "hr@50", "diversity@50")
MIC_ABLATION = {
    "full": (11.554, 7.889, 22.790, 49.511),
    "- UU": (10.556, 7.689, 21.132, 44.021),
    "- UI": (10.347, 6.462, 21.273, 42.483),
    "- II": (11.096, 7.089, 22.668, 46.796),
    "- perturbation": (8.415, 5.346, 16.590, 34.188),
    "- mining": (10.176, 6.098, 20.727, 41.983),
    "full, without U2U": (11.148, 7.688, 22.076, 45.478),
    "full, without U2I": (11.484, 7.825, 22.571, 45.603),
    "full, without I2I": (11.316, 7.758, 22.443, 41.709),
}
"""MIC's Table 4 (Amazon Book, all three channels fused), in percent."""

MICREC = {
    "FM": (0.1731, 0.2487, 0.3219, 0.4495),
    "YoutubeDNN": (0.1779, 0.2576, 0.3375, 0.4719),
    "DeepFM": (0.1825, 0.2587, 0.3368, 0.4776),
    "AutoInt": (0.1859, 0.2626, 0.3552, 0.4857),
    "ICAN": (0.1872, 0.2627, 0.3563, 0.4873),
    "RFM* = MicRec (fea)": (0.1967, 0.2752, 0.3671, 0.5065),
    "MicRec (fea+sess)": (0.2033, 0.2751, 0.3764, 0.5134),
    "MicRec (final)": (0.2047, 0.2831, 0.3825, 0.5209),
}
"""MicRec's Table 2 at 50, 100, 200 and 500, of its Video-636M."""
MICREC_NEWS = {
    "FM": (0.2466, 0.3072, 0.3871, 0.4843),
    "YoutubeDNN": (0.2691, 0.3307, 0.4116, 0.5188),
    "DeepFM": (0.2659, 0.3268, 0.4083, 0.5171),
    "AutoInt": (0.2716, 0.3431, 0.4213, 0.5316),
    "ICAN": (0.2748, 0.3438, 0.4241, 0.5403),
    "RFM* = MicRec (fea)": (0.2911, 0.3609, 0.4413, 0.5605),
    "MicRec (fea+sess)": (0.3006, 0.3689, 0.4494, 0.5693),
    "MicRec (final)": (0.3018, 0.3719, 0.4543, 0.5758),
}
"""The same of its News-76M."""
MICREC_ABLATION = {
    "MicRec": (0.2047, 0.5209, 0.1606),
    "- feature": (0.2008, 0.5092, 0.1721),
    "- semantic": (0.2033, 0.5134, 0.1617),
    "- session": (0.2012, 0.5108, 0.0932),
    "- all": (0.1872, 0.4873, 0.1242),
}
"""MicRec's Table 4: HIT@50, HIT@500 and coverage."""


def mic(data: str) -> dict[str, dict[str, float]]:
    """MIC's Table 1 of one data set, by our lines: what the paper calls + MIC are the three channels fused, and lists
    may repeat the history. Its ComiRec stands for both of its kinds, for the paper names none.

    Raises:
        KeyError: it does not have that data set.
    """
    found = {}
    for name, line in zip(MIC_ROWS, MIC[data].strip().splitlines(), strict=True):
        kinds = ("_sa", "_dr") if name.startswith("comirec") else ("",)
        figures = shares({name: tuple(map(float, line.split()))}, seen_too(MIC_METRICS), 100)[name]
        for kind in kinds:
            own = name.replace("comirec", f"comirec{kind}")
            found[f"{own}, fused" if "MIC" in name else own] = figures
    return found


def seen_too(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """The same metrics of lists that may repeat the history, as MIC's (after ComiRec's code) do."""
    return tuple(metric + SEEN_TOO for metric in metrics)


def shares(
    table: dict[str, tuple[float, ...]], metrics: tuple[str, ...], unit: float = 1.0
) -> dict[str, dict[str, float]]:
    """Lines of figures by metric; ``unit`` 100 where they are percent."""
    return {name: {m: v / unit for m, v in zip(metrics, line, strict=True)} for name, line in table.items()}
