"""Names of metadata fields that scripts can get and set (reference 4.11: IIM and Exif tag names)."""

from __future__ import annotations

from collections.abc import Mapping

IPTC: Mapping[str, tuple[int, int]] = {
    "ObjectName": (5, 64), "EditStatus": (7, 64), "Urgency": (10, 1), "Category": (15, 3), "SupplementalCategory": (20, 32), "Keywords": (25, 64),
    "SpecialInstructions": (40, 256), "DateCreated": (55, 8), "TimeCreated": (60, 11), "Byline": (80, 32), "BylineTitle": (85, 32), "City": (90, 32),
    "Sublocation": (92, 32), "ProvinceState": (95, 32), "CountryCode": (100, 3), "Country": (101, 64), "OriginalTransmissionReference": (103, 32),
    "Headline": (105, 256), "Credit": (110, 32), "Source": (115, 32), "CopyrightNotice": (116, 128), "Contact": (118, 128), "Caption": (120, 2000),
    "CaptionWriter": (122, 32),
}  # fmt: skip
"""IIM record 2: data set number and greatest length in bytes."""

EXIF: Mapping[str, tuple[int, int]] = {
    "ImageDescription": (0, 0x010E), "Make": (0, 0x010F), "Model": (0, 0x0110), "Orientation": (0, 0x0112), "Software": (0, 0x0131), "DateTime": (0, 0x0132),
    "Artist": (0, 0x013B), "Copyright": (0, 0x8298), "ExposureTime": (1, 0x829A), "FNumber": (1, 0x829D), "ISOSpeedRatings": (1, 0x8827),
    "DateTimeOriginal": (1, 0x9003), "DateTimeDigitized": (1, 0x9004), "ShutterSpeedValue": (1, 0x9201), "ApertureValue": (1, 0x9202),
    "FocalLength": (1, 0x920A), "UserComment": (1, 0x9286), "LensModel": (1, 0xA434),
}  # fmt: skip
"""Directory (0 = image, 1 = Exif) and tag number."""
