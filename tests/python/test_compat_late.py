# SPDX-License-Identifier: MIT
"""`activate` after programs have looked for `natten` and not found it."""

import textwrap

import pytest
from test_compat_children import output, write

FAKE = {
    "transformers/__init__.py": "",
    "transformers/utils/__init__.py": "",
    # The shape of transformers 4: a constant behind a function.
    "transformers/utils/import_utils.py": """
        import importlib.util
        _natten_available = importlib.util.find_spec("natten") is not None
        def is_natten_available():
            return _natten_available
        """,
    "transformers/models/__init__.py": "",
    "transformers/models/dinat.py": """
        from ..utils.import_utils import is_natten_available
        if is_natten_available():
            from natten.functional import natten2dav
        else:
            def natten2dav(*args):
                raise OSError("no natten")
        """,
    # The shape of transformers 5: a cached function.
    "cached.py": """
        import functools, importlib.util
        @functools.lru_cache
        def is_natten_available():
            return importlib.util.find_spec("natten") is not None
        """,
    "diffusion.py": """
        try:
            import natten
        except ImportError:
            natten = None
        """,
    "flagged.py": """
        try:
            from natten.functional import na2d
            HAS_NATTEN = True
        except ImportError:
            HAS_NATTEN, na2d = False, None
        """,
    "unconcerned.py": "unattended = False\nna2d_mode = None\n",
}

PROGRAM = """
    import sys, warnings
    import cached, diffusion, flagged, unconcerned
    from transformers.models import dinat
    from transformers.utils.import_utils import is_natten_available
    assert not is_natten_available() and not cached.is_natten_available()
    sys.modules["natten"] = None

    from natten_mps.compat import activate
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        activate("0.14.6")
    assert is_natten_available() and cached.is_natten_available()
    import natten
    assert diffusion.natten is natten
    assert dinat.natten2dav is natten.functional.natten2dav
    assert unconcerned.unattended is False
    for warning in caught:
        print(warning.category.__name__, warning.filename, warning.message)
"""


def test_memories_are_put_right_or_named(tmp_path):
    for name, text in FAKE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path, name, text)
    script = write(tmp_path, "program.py", PROGRAM)
    category, where, text = output(script, folder=tmp_path).strip().split(" ", 2)
    assert (category, where) == ("RuntimeWarning", str(script))
    assert text == (
        "flagged looked for natten before natten_mps.compat.activate('0.14.6') and remembers in "
        "HAS_NATTEN, na2d that it was missing; activate before flagged is imported, or call "
        "importlib.reload(sys.modules['flagged']) now"
    )


REAL = """
    import torch
    from transformers import DinatConfig, DinatModel
    from transformers.utils import is_natten_available
    import transformers.models.dinat.modeling_dinat as dinat
    config = DinatConfig(embed_dim=16, depths=[1, 1], num_heads=[2, 2], kernel_size=3,
        dilations=[[1], [2]])
    try:
        DinatModel(config)
        raise AssertionError("natten is installed here")
    except ImportError:
        pass
    from natten_mps.compat import activate
    activate("0.14.6")
    assert is_natten_available() and dinat.natten2dav.__module__.startswith("natten")
    DinatModel(config)
    print("served")
"""


@pytest.mark.slow
@pytest.mark.parametrize("release", ["transformers-4.57.6", "transformers-5.24.0"])
def test_transformers(release, tmp_path):
    from test_compat_clients import client_path

    path = [client_path(release)]
    assert output("-c", textwrap.dedent(REAL), folder=tmp_path, path=path) == "served\n"
