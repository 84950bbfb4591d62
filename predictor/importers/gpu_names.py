"""The catalogue's name of a card as a driver, a framework or a submitter calls it; None where that is not certain.

`torch.cuda.get_device_name` calls an H100-SXM "NVIDIA H100 80GB HBM3" and an H200-SXM "NVIDIA H200", MLPerf's
submitters write "NVIDIA H100-SXM-80GB". A bare "H100" may be any of three cards, so it is none.
"""

from __future__ import annotations

import re

_NOT_A_WHOLE_KNOWN_CARD = re.compile(r"\b(MIG|LAPTOP|MAX-Q|TI|SUPER|CPX|D)\b|-\d+[QCAB]\b", re.IGNORECASE)
"""Slices, partitions and siblings that share a name with another card."""

_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), name)
    for pattern, name in (
        (r"\bGB300\b", "GB300"),
        (r"\bGB200\b", "GB200"),
        (r"\bGH200\b(?!.*144)", "GH200"),
        (r"\bB300\b", "B300"),
        (r"\bB200\b", "B200"),
        (r"\bB100\b", "B100"),
        (r"\bH200\b.*\bNVL", "H200-NVL"),
        (r"\bH200\b.*\bSXM|^(NVIDIA )?H200$", "H200-SXM"),
        (r"\bH100\b.*\bNVL", "H100-NVL"),
        (r"\bH100\b.*\bPCIE", "H100-PCIe"),
        (r"\bH100\b(?!.*(NVL|PCIE)).*(\bSXM|\bHBM3\b)", "H100-SXM"),
        (r"\bH20\b", "H20"),
        (r"\bA100\b(?=.*80\s?GB)(?=.*\bSXM)", "A100-80GB-SXM"),
        (r"\bA100\b(?=.*80\s?GB)(?=.*\bPCIE)", "A100-80GB-PCIe"),
        (r"\bA100\b(?=.*40\s?GB)(?=.*\bSXM)", "A100-40GB-SXM"),
        (r"\bA100\b(?=.*40\s?GB)(?=.*\bPCIE)", "A100-40GB-PCIe"),
        (r"\bV100\b(?=.*32\s?GB)(?=.*\bSXM)", "V100-32GB-SXM2"),
        (r"\bV100\b(?=.*32\s?GB)(?=.*\bPCIE)", "V100-32GB-PCIe"),
        (r"\bV100\b(?=.*16\s?GB)(?=.*\bSXM)", "V100-16GB-SXM2"),
        (r"\bV100\b(?=.*16\s?GB)(?=.*\bPCIE)", "V100-16GB-PCIe"),
        (r"\bL40S\b", "L40S"),
        (r"\bL40\b", "L40"),
        (r"\bL4\b", "L4"),
        (r"\bA40\b", "A40"),
        (r"\bA30\b", "A30"),
        (r"\bA10G\b", "A10G"),
        (r"\bA10\b", "A10"),
        (r"\bTESLA T4\b|^(NVIDIA )?T4$", "T4"),
        (r"\bRTX ?A6000\b", "RTXA6000"),
        (r"\bRTX ?PRO 6000\b", "RTXPRO6000"),
        (r"\bRTX ?6000 Ada\b", "RTX6000Ada"),
        (r"\bRTX ?5090\b", "RTX5090"),
        (r"\bRTX ?4090\b", "RTX4090"),
        (r"\bRTX ?3090\b", "RTX3090"),
        (r"\bMI355X\b", "MI355X"),
        (r"\bMI350X\b", "MI350X"),
        (r"\bMI325X\b", "MI325X"),
        (r"\bMI300X\b", "MI300X"),
        (r"\bMI250\b", "MI250"),
        (r"\bMI210\b", "MI210"),
    )
)


def gpu_type_named(name: str | None) -> str | None:
    """The one GPU type that a marketing name means."""
    if name is None or len(name) > 200 or _NOT_A_WHOLE_KNOWN_CARD.search(name):
        return None
    found = {gpu_type for pattern, gpu_type in _NAMES if pattern.search(name)}
    return found.pop() if len(found) == 1 else None
