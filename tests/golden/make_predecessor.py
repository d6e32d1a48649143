# SPDX-License-Identifier: MIT
"""Writes the public names of natten-mps 0.3.3, read from its source by `ast`.

    python tests/golden/make_predecessor.py natten_mps-0.3.3.tar.gz

The file natten-mps-0.3.3.json next to this one gets {module: {name: what}}, as make_names.py
describes names; modules with a leading underscore are private.
"""

import ast
import json
import re
import sys
import tarfile
from pathlib import Path

from make_names import names

SOURCE = re.compile(r"natten_mps-[^/]+/src/(natten_mps(?:/[a-z]\w*)*(?:/__init__)?)\.py")


def main(sdist: str) -> None:
    """Read a sdist and write the file."""
    modules = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            found = SOURCE.fullmatch(member.name)
            if found is None:
                continue
            path = found[1].replace("/", ".")
            module, package = path.removesuffix(".__init__"), path.endswith(".__init__")
            tree = ast.parse(archive.extractfile(member).read())
            listed = names(tree, module, package)
            if "__all__" in listed:
                listed |= {n: "value" for n in listed["__all__"].split(", ") if n not in listed}
            modules[module] = {n: listed[n] for n in sorted(listed) if not n.startswith("_")}
    text = json.dumps(modules, sort_keys=True, indent=0) + "\n"
    Path(__file__).with_name("natten-mps-0.3.3.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
