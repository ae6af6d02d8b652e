"""Saved files that were changed and signed again, as whoever can write a file can do: what reads them must judge."""

import hashlib
import json

import safetensors.numpy
from toolz import dissoc


def header_and_arrays(content):
    """The unsigned header and the arrays in the bytes of a saved file."""
    size = 8 + int.from_bytes(content[:8], "little")
    text = json.loads(content[8:size])["__metadata__"]["funcnn"]
    return dissoc(json.loads(text), "sha256"), safetensors.numpy.load(content)


def signed(header, arrays):
    """The bytes of a saved file with this header and these arrays, and the digest of both."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    text = json.dumps({**header, "sha256": digest.hexdigest()}, sort_keys=True)
    return safetensors.numpy.save(arrays, {"funcnn": text})


def resigned(path, change_header, change_arrays=lambda arrays: arrays):
    """Change what a saved file holds, and sign it again."""
    header, arrays = header_and_arrays(path.read_bytes())
    path.write_bytes(signed(change_header(header), change_arrays(arrays)))
