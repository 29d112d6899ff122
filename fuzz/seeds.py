#!/usr/bin/env python3
"""Fills `corpus/TARGET` with files to start from: the fixtures of this repository, and small valid files
made here. What is there already stays, so that a corpus grows from run to run.

    python3 fuzz/seeds.py

Python's own library is all it needs. The records of Burn make themselves (`fuzz_targets/record.rs`).
"""

import base64
import collections
import gzip
import io
import json
import pickle
import struct
import sys
import tarfile
import types
import zipfile
import zlib
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent
WEIGHTS = ROOT / "isomax-models/tests/fixtures"
DATA = ROOT / "isomax-bench/tests/fixtures"
IMAGES = ROOT / "isomax-bundle/tests/fixtures/images"


def seed(target, name, content):
    folder = FUZZ / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{name}"
    if not path.exists():
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def fixtures(folder, pattern="*"):
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    assert found, f"no {pattern} in {folder}"
    return {path.name: path.read_bytes() for path in found}


# Weights. The pickles name functions and classes of PyTorch, which need not be there: modules of the
# same names take their place.


def module(name, **contents):
    made = sys.modules.setdefault(name, types.ModuleType(name))
    for key, value in contents.items():
        value.__module__, value.__qualname__, value.__name__ = name, key, key
        setattr(made, key, value)


def function():
    return lambda *_: None


def kind(name):
    return type(name, (), {})


def calls(rebuild, *arguments):
    """An object that is pickled as a call."""
    made = type("Call", (), {"__reduce__": lambda _: (rebuild, arguments)})
    return made()


for name in ["torch", "torch._utils", "torch._tensor", "torch.nn", "torch.nn.parameter"]:
    sys.modules[name] = types.ModuleType(name)
STORAGES = {"f": "Float", "d": "Double", "e": "Half", "q": "Long", "i": "Int", "B": "Byte"}
module("torch", **{f"{name}Storage": kind(name) for name in STORAGES.values()})
module("torch", BFloat16Storage=kind("BFloat16"), Tensor=kind("Tensor"))
module("torch.nn.parameter", Parameter=kind("Parameter"))
module("torch._utils", **{
    name: function() for name in ["_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter"]
})
module("torch._tensor", _rebuild_from_type_v2=function())
torch, utils = sys.modules["torch"], sys.modules["torch._utils"]


class Storage:
    def __init__(self, values, code="f"):
        self.kind = getattr(torch, f"{STORAGES[code]}Storage")
        self.count, self.bytes = len(values), struct.pack(f"<{len(values)}{code}", *values)


class Pickler(pickle.Pickler):
    """Keeps storages beside the pickle, as PyTorch does."""

    def __init__(self, file, protocol, storages):
        super().__init__(file, protocol)
        self.storages = storages

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        if thing not in self.storages:
            self.storages.append(thing)
        return ("storage", thing.kind, str(self.storages.index(thing)), "cpu", thing.count)


def pickled(thing, protocol, storages):
    file = io.BytesIO()
    Pickler(file, protocol, storages).dump(thing)
    return file.getvalue()


# Names and shapes of `weights::Tiny`, as PyTorch has them.
TINY = {
    "shortcut.weight": [2, 2],
    "shortcut.bias": [2],
    "norm.weight": [2],
    "norm.bias": [2],
    "norm.running_mean": [2],
    "norm.running_var": [2],
    "classifier.weights": [3, 2],
    "classifier.bias": [3],
    "classifier.temperature": [1],
    "distances.prototypes": [3, 2],
    "distances.distance_scale": [1],
    "distances.temperature": [1],
}


def count(shape):
    product = 1
    for size in shape:
        product *= size
    return product


def strides(shape):
    return tuple(count(shape[i + 1:]) for i in range(len(shape)))


def values(shape, first=1):
    return [(first + i) / 4 for i in range(count(shape))]


def tensor(shape, code="f", more=()):
    numbers = values(shape)
    storage = Storage([int(x) for x in numbers] if code in "qiB" else numbers, code)
    arguments = (storage, 0, tuple(shape), strides(shape), False, collections.OrderedDict())
    return calls(utils._rebuild_tensor_v2, *arguments, *more)


def parameter(shape):
    return calls(utils._rebuild_parameter, tensor(shape), True, collections.OrderedDict())


def transposed(shape):
    storage = Storage(values(shape))
    turned = tuple(reversed(strides(tuple(reversed(shape)))))
    return calls(utils._rebuild_tensor_v2, storage, 0, tuple(shape), turned, False, {})


def typed(shape):
    given = (Storage(values(shape)), 0, tuple(shape), strides(shape), False, {})
    class_, state = torch.Tensor, {}
    rebuild = sys.modules["torch._tensor"]._rebuild_from_type_v2
    return calls(rebuild, utils._rebuild_tensor_v2, class_, given, state)


def tiny(make=tensor, name=lambda name: name):
    return collections.OrderedDict((name(key), make(shape)) for key, shape in TINY.items())


def one_storage():
    storage, at, tensors = Storage([1 + i / 8 for i in range(40)]), 0, {}
    for key, shape in TINY.items():
        tensors[key] = calls(
            utils._rebuild_tensor_v2, storage, at, tuple(shape), strides(shape), False, {}
        )
        at += count(shape)
    return tensors


def renamed(key):
    parts = {"shortcut": "downsample", "classifier.weights": "fc.weight", "classifier": "fc"}
    for own, other in parts.items():
        key = key.replace(own, other)
    return key


def state_dicts():
    plain = tiny()
    counted = tiny()
    counted["norm.num_batches_tracked"] = tensor([], "q")
    without = {key: value for key, value in tiny().items() if "temperature" not in key}
    mixed = tiny()
    mixed["shortcut.weight"] = transposed([2, 2])
    mixed["classifier.weights"] = parameter([3, 2])
    mixed["norm.weight"] = typed([2])
    mixed["norm.bias"] = tensor([2], "f", ({"neg": True},))
    mixed["distances.temperature"] = tensor([], "d")
    return {
        "plain": plain,
        "counted": counted,
        "without": without,
        "mixed": mixed,
        "half": tiny(lambda shape: tensor(shape, "e")),
        "double": tiny(lambda shape: tensor(shape, "d")),
        "integers": tiny(lambda shape: tensor(shape, "q")),
        "parameters": tiny(parameter),
        "one-storage": one_storage(),
        "renamed": tiny(name=renamed),
        "parallel": tiny(name=lambda key: f"module.{key}"),
        "compiled": tiny(name=lambda key: f"_orig_mod.module.{key}"),
        "checkpoint": {"epoch": 3, "state_dict": plain, "optimizer": {"state": {}, "lr": 0.1}},
        "averaged": {"model": plain, "model_ema": {"module": tiny(tensor)}},
        "list": [1, "a", None],
        "nothing": {},
    }


def zipped(entries, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def torch_entries(thing, folder="archive/", protocol=2):
    storages = []
    entries = {f"{folder}data.pkl": pickled(thing, protocol, storages)}
    entries |= {f"{folder}byteorder": b"little", f"{folder}version": b"3\n"}
    return entries | {f"{folder}data/{i}": s.bytes for i, s in enumerate(storages)}


def torch_legacy(thing, protocol=2):
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    storages = []
    contents = pickled(thing, protocol, storages)
    names = [str(i) for i in range(len(storages))]
    head = [pickle.dumps(part, protocol) for part in [0x1950A86A20F9469CFC6C, 1001, system]]
    tail = [struct.pack("<Q", storage.count) + storage.bytes for storage in storages]
    return b"".join([*head, contents, pickle.dumps(names, protocol), *tail])


def weights():
    for name, content in fixtures(WEIGHTS, "*.pth").items():
        is_zip = content.startswith(b"PK")
        seed("weights_zip" if is_zip else "weights_legacy", name, content)
        if is_zip:
            archive = zipfile.ZipFile(io.BytesIO(content))
            pickles = [entry for entry in archive.namelist() if entry.endswith("data.pkl")]
            for entry in pickles:
                seed("pickle", name, archive.read(entry))
        else:
            seed("pickle", name, content)
    for name, thing in state_dicts().items():
        seed("weights_zip", f"tiny-{name}", zipped(torch_entries(thing)))
        seed("weights_legacy", f"tiny-{name}", torch_legacy(thing))
        seed("pickle", f"tiny-{name}", pickled(thing, 2, []))
    plain = tiny()
    seed("weights_zip", "tiny-protocol4", zipped(torch_entries(plain, protocol=4)))
    seed("weights_legacy", "tiny-protocol4", torch_legacy(plain, 4))
    deflated = zipped(torch_entries(plain), zipfile.ZIP_DEFLATED)
    seed("weights_zip", "tiny-deflated", deflated)
    seed("weights_zip", "tiny-no-folder", zipped(torch_entries(plain, "")))
    seed("weights_zip", "tiny-backslashes", zipped(torch_entries(plain, "./a\\")))
    script = {"m/data.pkl": b"\x80\x02}.", "m/constants.pkl": b"\x80\x02).", "m/code/a.py": b""}
    others = {"script": script, "npz": {"a.npy": b""}, "inside": {"a/b.pth": b""}, "empty": {}}
    for name, entries in others.items():
        seed("weights_zip", name, zipped(entries))
    for name, content in {
        "lfs": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "page": "<!DOCTYPE html><html><title>Sign in</title>",
        "json": '{"weight_map": {}}',
        "onnx": b"\x08\x07\x12\x07pytorch\x1a\x05",
        "magic-in-digits": b"L119547037146038801333356L\n.I1001\n.(dp0\n.(dp0\n.(lp0\n.",
    }.items():
        seed("weights_legacy", name, content)


def safetensors():
    def file(tensors, metadata=None):
        header, contents = {}, b""
        if metadata:
            header["__metadata__"] = metadata
        for key, (dtype, shape, content) in tensors.items():
            places = [len(contents), len(contents) + len(content)]
            header[key] = {"dtype": dtype, "shape": shape, "data_offsets": places}
            contents += content
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + contents

    def tensors(dtype, code, name=lambda name: name):
        def content(shape):
            if dtype == "BF16":
                return b"".join(struct.pack("<f", x)[2:] for x in values(shape))
            numbers = values(shape)
            numbers = [int(x) for x in numbers] if code in "qiB" else numbers
            return struct.pack(f"<{len(numbers)}{code}", *numbers)

        return {name(key): (dtype, shape, content(shape)) for key, shape in TINY.items()}

    for dtype, code in [("F32", "f"), ("F64", "d"), ("F16", "e"), ("BF16", ""), ("I64", "q")]:
        seed("safetensors", dtype.lower(), file(tensors(dtype, code), {"format": "pt"}))
    plain = tensors("F32", "f")
    seed("safetensors", "renamed", file(tensors("F32", "f", renamed)))
    seed("safetensors", "parallel", file(tensors("F32", "f", lambda key: f"module.{key}")))
    scalar = {key: (d, [] if shape == [1] else shape, c) for key, (d, shape, c) in plain.items()}
    seed("safetensors", "scalars", file(scalar))
    few = {key: value for key, value in plain.items() if "temperature" not in key}
    seed("safetensors", "no-temperatures", file(few))
    counter = {"norm.num_batches_tracked": ("I64", [], bytes(8))}
    seed("safetensors", "counter", file(plain | counter))
    seed("safetensors", "two-names", file(plain | {"_orig_mod.norm.bias": plain["norm.bias"]}))
    seed("safetensors", "empty", file({}))
    for name, bits in {"nan": 0x7FC00000, "infinite": 0x7F800000, "negative": 0xBF800000}.items():
        variance = struct.pack("<2I", 0x3F800000, bits)
        seed("safetensors", name, file(plain | {"norm.running_var": ("F32", [2], variance)}))


def pickles():
    shared = [1, 2]
    circle = {"a": shared}
    circle["model"] = circle
    things = {
        "numbers": [0, 1, -1, 255, 65_536, 2**31, -(2**31), 2**63 - 1, 2**80, 1.5, True, None],
        "texts": ["", "a", "\u20ac\\\n'", "x" * 300, b"\xff'\n", b"y" * 300, bytearray(b"z")],
        "nested": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[[]]], {1: {2: 3}}],
        "shared": [shared, shared, (shared, shared)],
        "circle": circle,
        "sets": [{1, 2}, frozenset("a"), complex(1, 2), Ellipsis, int],
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "default": collections.defaultdict(list, {"a": [1]}),
    }
    for protocol in range(6):
        for name, thing in things.items():
            seed("pickle", f"{name}-{protocol}", pickle.dumps(thing, protocol))
    by_hand = {
        "system": b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
        "state": b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0u1\x85R(K\x03\x88tb.",
        "instance": b"(I1\nicollections\nOrderedDict\n.",
        "python2": b"(dp0\nS'a\\xff'\np1\nU\x01bsT\x01\0\0\0cL5L\ns.",
        "doubled": b")" + b"2\x86" * 30 + b".",
        "keywords": b"\x80\x04\x8c\x01a\x8c\x01b\x93)}\x92.",
        "long4": b"\x8b\x02\0\0\0\xff\x7f.",
        "circular-parameter": b"}Vx\nctorch._utils\n_rebuild_parameter\n]q\0Rq\1h\0h\1a0s.",
    }
    for name, content in by_hand.items():
        seed("pickle", name, content)
    for name, content in fixtures(DATA / "cifar_python").items():
        if not name.endswith(".py"):
            seed("pickle", name, content)
            seed("cifar_python", name, content)


# Sets of images.

PLANES = bytes(80 * (at // 1024) + at % 32 & 0xFF for at in range(3072))


def mat():
    def number(order, value):
        return struct.pack(order + "I", value)

    def element(order, kind, content):
        if 1 <= len(content) <= 4:
            head = number(order, len(content) << 16 | kind)
        else:
            head = number(order, kind) + number(order, len(content))
        return head + content + bytes(-len(head + content) % 8)

    def array(order, class_, name, dims, storage, *contents):
        flags = number(order, class_) + bytes(4)
        dims = b"".join(number(order, dim) for dim in dims)
        parts = [(6, flags), (5, dims), (1, name), *((storage, content) for content in contents)]
        return element(order, 14, b"".join(element(order, *part) for part in parts))

    def file(order, arrays, compressed=False):
        head = b"MATLAB 5.0 MAT-file".ljust(124)
        head += b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
        for content in arrays:
            if compressed:
                content = zlib.compress(content)
                content = number(order, 15) + number(order, len(content)) + content
            head += content
        return head

    for order, name in [("<", "little"), (">", "big")]:
        x = array(order, 9, b"X", [32, 32, 3, 1], 2, PLANES)
        y = array(order, 9, b"y", [1, 1], 2, b"\x07")
        double = array(order, 6, b"y", [1, 1], 9, struct.pack(order + "d", 10))
        text = array(order, 4, b"note", [1, 2], 16, b"ab")
        one = struct.pack(order + "d", 1)
        complex_ = array(order, 0x806, b"z", [1, 1], 9, one, one)
        seed("mat", f"{name}", file(order, [x, y]))
        seed("mat", f"{name}-compressed", file(order, [x, y], True))
        seed("mat", f"{name}-double", file(order, [text, double, x], True))
        seed("mat", f"{name}-others", file(order, [y, complex_, text]))
        seed("mat", f"{name}-no-image", file(order, [y]))
        three = array(order, 9, b"X", [32, 32, 3], 2, PLANES)
        seed("mat", f"{name}-three", file(order, [three, y]))
        shorts = b"".join(struct.pack(order + "h", byte) for byte in PLANES)
        shorts = array(order, 10, b"X", [32, 32, 3, 1], 3, shorts)
        seed("mat", f"{name}-shorts", file(order, [shorts, y], True))
        two = array(order, 9, b"X", [32, 32, 3, 2], 2, PLANES * 2)
        labels = array(order, 12, b"y", [2, 1], 5, struct.pack(order + "2i", 1, 10))
        seed("mat", f"{name}-two", file(order, [labels, two], True))
    seed("mat", "hdf5", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n")


def cifar_records(labels):
    return b"".join(bytes(label) + PLANES for label in labels)


def tar(entries, form=tarfile.USTAR_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return file.getvalue()


def gz(content):
    return gzip.compress(content, 9, mtime=0)


def cifar():
    ten, hundred = cifar_records([[7], [0], [9]]), cifar_records([[19, 99], [0, 3]])
    seed("cifar_binary", "ten", ten)
    seed("cifar_binary", "one", cifar_records([[1]]))
    seed("cifar_binary", "hundred", hundred)
    seed("cifar_binary", "no-class", cifar_records([[10]]))
    seed("cifar_binary", "short", ten[:-1])

    python = fixtures(DATA / "cifar_python")
    old, new = python["python2_protocol2"], python["hundred_protocol4"]
    train = {f"cifar-10-batches-bin/data_batch_{i}.bin": cifar_records([[i]]) for i in [3, 1, 2, 5, 4]}
    archives = {
        "ten": {"cifar-10-batches-bin/batches.meta.txt": b"a\n", "cifar-10-batches-bin/test_batch.bin": ten},
        "train": train,
        "hundred": {"cifar-100-binary/test.bin": hundred},
        "python": {"cifar-10-batches-py/test_batch": old, "cifar-100-python/test": new},
        "bare": {"test_batch.bin": cifar_records([[1]])},
        "folder": {"cifar-10-batches-bin": (tarfile.DIRTYPE, ""), "test_batch.bin": ten},
        "empty": {},
    }
    for name, entries in archives.items():
        seed("cifar_archive", name, gz(tar(entries)))
    long = {"x" * 120 + "/test_batch.bin": cifar_records([[1]])}
    seed("cifar_archive", "gnu", gz(tar(long, tarfile.GNU_FORMAT)))
    seed("cifar_archive", "pax", gz(tar(long, tarfile.PAX_FORMAT)))
    whole = tar(archives["bare"])
    seed("cifar_archive", "two-members", gz(whole[:1000]) + gz(whole[1000:]))
    seed("cifar_archive", "cut", gz(whole)[:-9])

    small = {"set/a.png": b"one", "set/b/c.txt": b"two"}
    unpacked = {
        "small": small,
        "folders": {"set": (tarfile.DIRTYPE, ""), "set/b": (tarfile.DIRTYPE, ""), **small},
        "twice": {"set/a": b"1", "./set/a": b"22", "set//a": b"333"},
        "parent": {"set/a": b"1", "set/../../evil": b"2"},
        "absolute": {"/evil": b"1"},
        "link": {"set/a": (tarfile.SYMTYPE, "/etc/passwd"), "set/b": b"2"},
        "hard": {"set/a": (tarfile.LNKTYPE, "set/b")},
        "file-as-folder": {"set/a": b"1", "set/a/b": b"2"},
        "device": {"set/null": (tarfile.CHRTYPE, "")},
        "other-folder": {"other/a": b"1"},
        "marker": {"set/.fetched.json": b"{}"},
        "empty": {},
    }
    for name, entries in unpacked.items():
        seed("fetch_unpack", name, gz(tar(entries)))
    deep = {"set/" + "d/" * 60 + "e" * 90: b"1"}
    seed("fetch_unpack", "gnu", gz(tar(deep, tarfile.GNU_FORMAT)))
    seed("fetch_unpack", "pax", gz(tar(deep, tarfile.PAX_FORMAT)))


# Images.


def png(width, height, depth, color, rows, more=b"", interlaced=False):
    def chunk(kind, content):
        sum_ = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header)
    for kind, content in more or []:
        chunks += chunk(kind, content)
    chunks += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def gradient(count, step=7):
    return bytes(at * step & 0xFF for at in range(count))


def adam7(width, height, pixel):
    passes = [
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
    ]
    rows = b""
    for left, top, across, down in passes:
        for y in range(top, height, down):
            row = b"".join(pixel(x, y) for x in range(left, width, across))
            rows += b"\0" + row if row else b""
    return rows


def pngs():
    def rows(bytes_, height=3):
        # Each row by another filter.
        return b"".join(bytes([y % 5]) + gradient(bytes_, y + 3) for y in range(height))

    colors = {"grey": (0, 1), "rgb": (2, 3), "grey-alpha": (4, 2), "rgba": (6, 4)}
    for name, (color, channels) in colors.items():
        for depth in [8, 16]:
            yield f"{name}-{depth}", png(5, 5, depth, color, rows(5 * channels * depth // 8, 5))
    for depth in [1, 2, 4]:
        yield f"grey-{depth}", png(9, 3, depth, 0, rows(-(-9 * depth // 8)))
        palette = [(b"PLTE", gradient(3 << depth)), (b"tRNS", b"\x00\xff")]
        yield f"palette-{depth}", png(9, 3, depth, 3, rows(-(-9 * depth // 8)), palette)
    extras = [(b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"a\0b"), (b"sBIT", b"\x05\x06\x05")]
    yield "chunks", png(5, 3, 8, 2, rows(15), extras)
    yield "transparent-color", png(5, 3, 8, 2, rows(15), [(b"tRNS", b"\0\1\0\2\0\3")])
    woven = adam7(11, 9, lambda x, y: bytes([x * 20, y * 20, 7]))
    yield "interlaced", png(11, 9, 8, 2, woven, interlaced=True)
    yield "of-32", png(32, 32, 8, 0, rows(32, 32))


def bmps():
    def bmp(width, height, bits, pixels, compression=0, palette=b"", masks=b""):
        # A height below zero counts rows from the top.
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0,
                           len(palette) // 4, 0)
        at = 14 + len(info) + len(masks) + len(palette)
        size = at + len(pixels)
        return b"BM" + struct.pack("<IHHI", size, 0, 0, at) + info + masks + palette + pixels

    palette = gradient(4 * 256, 3)
    yield "bmp-24", bmp(3, 2, 24, gradient(24))
    yield "bmp-top-down", bmp(3, -2, 24, gradient(24))
    yield "bmp-8", bmp(5, 2, 8, gradient(16), palette=palette)
    yield "bmp-4", bmp(5, 2, 4, gradient(8), palette=palette[:64])
    yield "bmp-1", bmp(5, 2, 1, gradient(8), palette=palette[:8])
    yield "bmp-16", bmp(3, 2, 16, gradient(16))
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    yield "bmp-fields", bmp(2, 2, 32, gradient(16), 3, masks=masks)
    # A run; single pixels; a jump between two of them.
    rle8 = b"\x03\x07\0\0" b"\0\x03\1\2\3\0\0\0" b"\1\5\0\2\1\0\1\6\0\1"
    yield "bmp-rle8", bmp(3, 3, 8, rle8, 1, palette)
    yield "bmp-rle4", bmp(3, 2, 4, b"\x03\x12\x00\x00\x03\x21\x00\x01", 2, palette[:64])
    core = struct.pack("<IHHHH", 12, 3, 2, 1, 24) + gradient(24)
    yield "bmp-core", b"BM" + struct.pack("<IHHI", 14 + len(core), 0, 0, 26) + core


def gifs():
    def blocks(content):
        parts = [content[at:at + 255] for at in range(0, len(content), 255)]
        return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"

    def lzw(pixels):
        # A clear code after two pixels keeps all codes at three bits.
        codes = []
        for at in range(0, len(pixels), 2):
            codes += [4, *pixels[at:at + 2]]
        bits = sum(code << 3 * at for at, code in enumerate([*codes, 5]))
        return bits.to_bytes(3 * (len(codes) + 1) // 8 + 1, "little")

    def frame(left, top, width, height, flags=0):
        place = struct.pack("<HHHHB", left, top, width, height, flags)
        return b"," + place + b"\x02" + blocks(lzw([at % 4 for at in range(width * height)]))

    screen = struct.pack("<HHBBB", 6, 4, 0xF1, 0, 0) + gradient(12, 20)
    control = b"!\xf9\x04\x09\x0a\x00\x01\x00"
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    yield "gif", b"GIF89a" + screen + frame(0, 0, 6, 4) + b";"
    yield "gif-interlaced", b"GIF87a" + screen + frame(0, 0, 6, 4, 0x40) + b";"
    yield "gif-part", b"GIF89a" + screen + control + frame(1, 1, 3, 2) + b";"
    yield "gif-frames", b"GIF89a" + screen + loop + control + frame(0, 0, 6, 4) + control + frame(2, 1, 2, 2) + b";"


def tiffs():
    def tiff(order, tags, content):
        # Values that do not fit into an entry follow the directory, and then the pixels.
        count, spare = len(tags), b""
        after = 8 + 2 + 12 * count + 4
        lengths = sum(len(v) * (2 if k == 3 else 4) for _, k, v in tags if len(v) * (2 if k == 3 else 4) > 4)
        pixels_at = after + lengths
        entries = b""
        for tag, kind, numbers in tags:
            numbers = [pixels_at + n[0] if isinstance(n, tuple) else n for n in numbers]
            packed = struct.pack(order + str(len(numbers)) + ("H" if kind == 3 else "I"), *numbers)
            head = struct.pack(order + "HHI", tag, kind, len(numbers))
            if len(packed) > 4:
                entries += head + struct.pack(order + "I", after + len(spare))
                spare += packed
            else:
                entries += head + packed.ljust(4, b"\0")
        start = b"II*\0" if order == "<" else b"MM\0*"
        directory = struct.pack(order + "IH", 8, count) + entries + bytes(4)
        return start + directory + spare + content

    def tags(width, height, bits, photometric, length, compression=1, more=()):
        channels = len(bits)
        found = [
            (256, 3, [width]), (257, 3, [height]), (258, 3, bits), (259, 3, [compression]),
            (262, 3, [photometric]), (273, 4, [(0,)]), (277, 3, [channels]), (278, 3, [height]),
            (279, 4, [length]),
        ]
        return sorted([*found, *more])

    for order, name in [("<", "little"), (">", "big")]:
        grey, rgb, deep = gradient(15), gradient(45), gradient(30)
        yield f"tiff-{name}-grey", tiff(order, tags(5, 3, [8], 1, 15), grey)
        yield f"tiff-{name}-rgb", tiff(order, tags(5, 3, [8] * 3, 2, 45), rgb)
        yield f"tiff-{name}-16", tiff(order, tags(5, 3, [16], 1, 30), deep)
    packed = zlib.compress(gradient(45))
    yield "tiff-deflate", tiff("<", tags(5, 3, [8] * 3, 2, len(packed), 8, [(317, 3, [2])]), packed)
    runs = b"\xfe\x07\x01\x01\x02" * 3
    yield "tiff-packbits", tiff("<", tags(5, 3, [8], 1, len(runs), 32773), runs)
    yield "tiff-bits", tiff("<", tags(9, 2, [1], 0, 4), b"\xaa\x80\x55\x00")
    planar = tags(5, 1, [8] * 3, 2, 15, 1, [(284, 3, [2])])
    planar = [(tag, kind, [(0,), (5,), (10,)] if tag == 273 else [5, 5, 5] if tag == 279 else v)
              for tag, kind, v in planar]
    yield "tiff-planar", tiff("<", planar, gradient(15))
    # A first code that clears, four grey values and the end, of nine bits each.
    lzw = int("".join(f"{code:09b}" for code in [256, 1, 2, 3, 4, 257]), 2)
    lzw = (lzw << 2).to_bytes(7, "big")
    yield "tiff-lzw", tiff("<", tags(2, 2, [8], 1, len(lzw), 5), lzw)
    tile = [(322, 3, [16]), (323, 3, [16]), (324, 4, [(0,)]), (325, 4, [256])]
    tiled = [tag for tag in tags(5, 3, [8], 1, 15, 1, tile) if tag[0] not in (273, 278, 279)]
    yield "tiff-tiled", tiff("<", tiled, gradient(256))


def images():
    for name, content in fixtures(IMAGES, "*.jpg").items():
        seed("image", name, content)
    whole = (IMAGES / "grey_sampled.jpg").read_bytes()
    seed("image", "no-end.jpg", whole[:-2])
    # To be turned by a quarter.
    turned = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(turned)) + b"Exif\0\0" + turned
    seed("image", "turned.jpg", whole[:2] + segment + whole[2:])
    pictures = [*pngs(), *bmps(), *gifs(), *tiffs()]
    for name, text in {
        "pbm": "P1\n# a comment\n3 2\n1 0 1 0 1 0\n",
        "pgm": "P2\n3 2\n9\n1 2 3 4 5 6\n",
        "ppm": "P3\n1 2\n255\n1 2 3 4 5 6\n",
    }.items():
        pictures.append((name, text.encode()))
    pictures += [
        ("pbm-raw", b"P4\n9 2\n\xaa\x80\x55\x00"),
        ("pgm-raw", b"P5\n3 2\n65535\n" + gradient(12)),
        ("ppm-raw", b"P6\n3 2\n255\n" + gradient(18)),
        ("pam", b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + gradient(16)),
    ]
    # One pixel each: lossy, lossless, with transparency, moving.
    for name, text in {
        "webp-lossy": "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA",
        "webp-lossless": "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==",
        "webp-alpha": "UklGRkoAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAA"
        "ABQBAJ0BKgEAAQAAAP4AAA3AAP7mtQAAAA==",
        "webp-animation": "UklGRlIAAABXRUJQVlA4WAoAAAASAAAAAAAAAAAAQU5JTQYAAAD/////AABBTk1GJgAAAAAAAAAA"
        "AAAAAAAAAGQAAABWUDhMDQAAAC8AAAAQBxAREYiI/gcA",
    }.items():
        pictures.append((name, base64.b64decode(text)))
    for name, content in pictures:
        seed("image", name, content)


# Text.


def score_files():
    for name, content in fixtures(DATA / "scores").items():
        seed("score_file", name, content)
    text = "0.9 # dog\r\n\r\n-.4\r1e-3\ninf\n-Infinity\n\t+0\n"
    seed("score_file", "text", text)
    for encoding in ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "latin-1"]:
        seed("score_file", encoding, text.encode(encoding))
    for name, line in {
        "nan": "1\nnan\n", "comma": "0,5\n", "columns": "a.png,0.5\n", "header": "score\n0.5\n",
        "old-infinity": "1.#INF\n", "brackets": "[1, 2]\n", "range": "1e999\n",
    }.items():
        seed("score_file", name, line)

    def npy(dtype, shape, content, version=1):
        header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        length = struct.pack("<H" if version == 1 else "<I", len(header))
        return b"\x93NUMPY" + bytes([version, 0]) + length + header + content

    for dtype, code in [("<f2", "<2e"), ("<f4", "<2f"), (">f8", ">2d"), ("|i1", "2b"), ("<i8", "<2q"),
                        (">u2", ">2H"), ("<u8", "<2Q")]:
        whole = [1, 2] if code[-1] not in "efd" else [0.5, -0.25 + 1e-12]
        seed("score_file", f"npy-{dtype[1:]}", npy(dtype, "(2,)", struct.pack(code, *whole)))
    pair = struct.pack("<2d", 1.5, 2.5)
    seed("score_file", "npy-column", npy("<f8", "(2, 1)", pair, 2))
    seed("score_file", "npy-old-row", npy("<f8", "(1L, 2L)", pair, 3))
    seed("score_file", "npy-nan", npy("<f8", "(1,)", struct.pack("<d", float("nan"))))
    seed("score_file", "npy-objects", npy("|O", "(1,)", b"\x80\x04N."))
    seed("score_file", "npy-fields", npy([("a", "<f4")], "(1,)", bytes(4)))


def detectors():
    def version_1(**changes):
        return {
            "format": "isomax-detector", "version": 1, "head": "isomax+", "score": "MDS",
            "temperature": 1.0, "num_classes": 2, "target_tpr": 0.5, "threshold": -2.0,
            "num_samples": 4, "quantiles": [-4.0, -3.0, -2.0, -1.0], **changes,
        }

    def version_2(score="MDS", head="isomax+", promise="empirical", samples=4, quantiles=None, value=-2.5):
        head = head and {
            "name": head, "num_classes": 3, "temperature": 1.0, "confidence_temperature": 1.5,
        }
        threshold = {
            "promise": promise, "target_tpr": 0.75, "value": value, "num_samples": samples,
            "quantiles": quantiles or [-4.0, -3.0, -2.0, -1.0],
        }
        return {
            "format": "isomax-detector", "version": 2, "score": score, "head": head,
            "threshold": threshold,
        }

    tolerance = {"tolerance": {"confidence": 0.9}}
    many = [-1.0 - i / 8 for i in range(1001)][::-1]
    cases = {
        "old": version_1(),
        "old-other": version_1(head="dismax", score="MMLES", temperature=2.5),
        "head": version_2(),
        "conformal": version_2(promise="conformal"),
        "tolerance": version_2("Energy", "softmax", tolerance),
        "scores": version_2(None, None),
        "named-scores": version_2("margin", None),
        "own-head": version_2("maxlogit", "mine"),
        "one-sample": version_2(samples=1, quantiles=[0.0], value=-1.0),
        "many": version_2(samples=1001, quantiles=many, value=-50.0),
        "more": version_2(samples=5000, quantiles=many, value=-50.0),
        "newer": {"format": "isomax-detector", "version": 3, "other": []},
    }
    for name, case in cases.items():
        seed("detector_json", name, json.dumps(case))


def configs():
    config = {
        "id_data": "cifar10", "architecture": "resnet-20", "head": "isomax+", "fpr": False,
        "entropic_scale": 10.0, "epochs": 300, "batch_size": 64, "learning_rate": 0.1,
        "milestones": [150, 200, 250], "gamma": 0.1, "warm_up": False, "momentum": 0.9,
        "weight_decay": 0.0001, "augmentation": {"padding": 4, "flip": True}, "train_images": None,
        "validation_images": 2500, "calibration_images": 2500, "stratified": True,
        "normalization": None, "jpeg_decoder": "safe", "selection": "validation",
        "early_stopping": None, "gradient_accumulation": 1, "devices": 1, "seed": 42,
        "ood_data": ["svhn", "tiny-imagenet-resize", "mine=/data/mine"], "ood_every": 1,
    }
    recipe = {key: value for key, value in config.items() if key not in ["seed", "ood_data", "ood_every"]}
    epoch = {
        "epoch": 1, "learning_rate": 0.1, "train": {"loss": 2.3, "accuracy": 11.5},
        "valid": {"loss": 2.2, "accuracy": 12.5, "svhn AUROC": 51.25},
    }
    training = {
        "seed": 42, "epochs": 1, "planned_epochs": 2, "chosen_epoch": 1, "selection": "validation",
        "train_images": 100, "validation_images": 10, "calibration_images": 10,
        "image_size": [32, 32], "backend": "flex", "digest": "0011", "recipe": recipe,
        "classes": ["a", "b"],
    }
    bin_ = {"lower": 0.0, "upper": 1.0, "count": 4, "confidence": 0.75, "accuracy": 0.5}
    calibration = {"accuracy": 0.5, "nll": 1.25, "ece": 0.25, "mce": 0.25, "bins": [bin_]}
    field = dict.fromkeys([
        "auroc", "tnr_at_95_tpr", "fpr_at_95_tpr", "detection_accuracy", "aupr_in", "aupr_out",
        "average_precision_in", "average_precision_out",
    ], 0.625)
    paper = dict.fromkeys(["tnr", "auroc", "dtacc", "auin", "auout"], 0.5)
    detection = {
        "set": "svhn", "source": "image folder", "images": 4, "score": "MDS", "is_default": True,
        "field": {**field, "num_in": 4, "num_out": 4}, "paper": paper, "rejected": 0.25,
    }
    evaluation = {
        "architecture": "resnet-20", "head": "isomax+", "fpr": False, "id_data": "cifar10",
        "data": "image folder", "temperature": 1.5,
        "normalization": {"mean": [0.5, 0.25, 0.125], "std": [0.2, 0.3, 0.4]}, "training": training,
        "classification": calibration,
        "calibrated": {"temperature": 2.5, "classification": calibration}, "images": 4,
        "detector": {"score": "MDS", "threshold": -1.5, "target_tpr": 0.95, "accepted": 0.9375},
        "detection": [detection],
    }
    history = {"digest": "0011", "epochs": [epoch, {**epoch, "epoch": 2}]}
    for name, value in {
        "config": config, "training": training, "history": history, "evaluation": evaluation,
        "bare-evaluation": {**evaluation, "training": None, "calibrated": None, "detector": None},
        "small": {"id_data": "svhn", "architecture": "wrn-28-10", "head": "dismax", "fpr": True},
    }.items():
        seed("config", name, json.dumps({"version": 1, **value}))
        seed("config", f"{name}-without-version", json.dumps(value, indent=1))
    seed("config", "newer", json.dumps({"version": 2, **config}))
    seed("config", "toml", """\
# An experiment.
id_data = "svhn"
architecture = "resnet-110"
head = "dismax"
fpr = true
epochs = 30
milestones = [15, 20, 25]
learning_rate = 1e-1
ood_data = ["cifar10", 'mine=/data/mine']
augmentation = { padding = 2, flip = false }

[normalization]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
""")
    seed("config", "toml-other", """\
id_data = "cifar100"
architecture = "densenet-bc-100"
head = "softmax"
selection = "test"
validation_images = 0
batch_size = 0x40
weight_decay = 0
momentum = nan
seed = 9_223_372_036_854_775_807
""")


def bundles():
    manifest = {
        "version": 1,
        "architecture": "resnet-20",
        "head": "isomax+",
        "classes": ["ants", "bees"],
        "preprocessing": {
            "size": 224,
            "resize": 256,
            "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
            "orientation": "upright",
            "jpeg_decoder": "safe",
        },
        "detector": None,
        "provenance": {"seed": 42, "recipe": {"epochs": 20}},
    }
    seed("bundle", "manifest", json.dumps(manifest))
    seed("bundle", "huge", json.dumps(manifest | {"architecture": "wrn-1996-100"}))
    seed("bundle", "newer", json.dumps(manifest | {"version": 2}))


def posthoc():
    for name, content in fixtures(ROOT / "isomax-burn/tests/suite/posthoc_files", "*.safetensors").items():
        seed("posthoc", name, content)


if __name__ == "__main__":
    posthoc()
    bundles()
    weights()
    safetensors()
    pickles()
    mat()
    cifar()
    images()
    score_files()
    detectors()
    configs()
    # libFuzzer wants the folder; the target fills it.
    (FUZZ / "corpus/record").mkdir(parents=True, exist_ok=True)
