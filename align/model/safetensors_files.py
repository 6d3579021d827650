"""Whether the weight files of a folder are whole, told from their headers."""

import json
from pathlib import Path

from align.model.errors import CheckpointError


def check_whole(folder: Path) -> None:
    """Raises CheckpointError naming the file, the tensor, and the bytes expected and found.

    A safetensors file starts with the length of its header, then the header, which says where each
    tensor's bytes end.
    """
    for path in sorted(folder.glob("*.safetensors")):
        _check_file(path)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in listed if not (folder / name).is_file())
        if missing:
            raise CheckpointError(f"{index}: names {', '.join(missing)}, not in the folder")


def _check_file(path: Path) -> None:
    found = path.stat().st_size
    with path.open("rb") as file:
        start = int.from_bytes(file.read(8), "little") + 8
        if found < max(start, 8):
            raise CheckpointError(
                f"{path}: truncated in its header, which takes {start} bytes; the file has {found}"
            )
        try:
            header = json.loads(file.read(start - 8))
        except ValueError as error:
            raise CheckpointError(f"{path}: not a safetensors file: {error}") from None
    header.pop("__metadata__", None)
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        end = start + tensor["data_offsets"][1]
        if end > found:
            raise CheckpointError(
                f"{path}: truncated: tensor {name} ends at byte {end}, the file has {found}; copy "
                "or download it again"
            )
