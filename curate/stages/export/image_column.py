"""Images as bytes in the export, in place of the paths of the input."""

from __future__ import annotations

import json
from pathlib import PurePath

import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.types import Rows
from curate.store.inputs import IMAGE_DATA, Inputs

TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Type of a column of images as in the ``datasets`` library."""


def column_name(inputs: Inputs) -> str:
    """Return the name of the user's column of images."""
    return inputs.roles[IMAGE_DATA]


def read_images(inputs: Inputs, shard: int, rows: Rows) -> pa.Array:
    """Return the images of some rows of a shard with their bytes and file names, of type ``TYPE``."""
    images = inputs.read_images(shard).take(rows)
    paths = pc.struct_field(inputs.read(shard, ("image",))["image"], "path").take(rows).to_pylist()
    names = [None if path is None else PurePath(path).name for path in paths]
    return pa.StructArray.from_arrays(
        [pa.array([images[row] for row in range(len(images))], pa.binary()), pa.array(names, pa.string())],
        names=["bytes", "path"],
    )


def replace_type(inputs: Inputs) -> pa.Schema:
    """Return the schema of the input in which the column of images has images for the ``datasets`` library."""
    schema, name = inputs.schema, column_name(inputs)
    data = json.loads((schema.metadata or {}).get(b"huggingface", b'{"info": {"features": {}}}'))
    data["info"]["features"][name] = {"_type": "Image"}
    metadata = {**(schema.metadata or {}), b"huggingface": json.dumps(data).encode()}
    return schema.set(schema.get_field_index(name), pa.field(name, TYPE)).with_metadata(metadata)
