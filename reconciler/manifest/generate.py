"""Write schemas/ and docs/manifest.md from the models: ``python -m reconciler.manifest.generate [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from reconciler.manifest.options import Options
from reconciler.manifest.reference import reference
from reconciler.manifest.schema import render_schema, schemas


def generated(options: Options) -> dict[str, str]:
    """Path in the repository to the text that belongs there."""
    found = {f"schemas/{name}": render_schema(schema) for name, schema in schemas(options).items()}
    return found | {"docs/manifest.md": reference(options)}


def main(folder: Path) -> None:
    from reconciler.drivers.registry import options  # only here: this room knows no driver

    for name, text in generated(options()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
