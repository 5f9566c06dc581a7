"""CUDA branches without a GPU: tensors that report ``cuda:0`` as their device, with CPU arithmetic.

Within ``EmulatedCuda()``, PyTorch sees a GPU. A tensor that is sent there is a `GpuTensor`, which
holds a CPU tensor. All its operations pass through `EmulatedCuda.operation`, which refuses what
CUDA refuses (operands on two devices, ``numpy()`` without ``cpu()``) and counts kernel launches,
host waits and memory. To the C++ part of PyTorch, a `GpuTensor` is on the CPU: its
autograd engine needs no CUDA then.
"""

import threading
import weakref
from collections import Counter
from contextlib import ExitStack
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
COPIES = {"_to_copy", "copy_", "_foreach_copy_"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
SYNCHRONOUS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero"}
NO_KERNEL = {  # views, and memory that is not filled
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "chunk", "detach", "diagonal", "empty",
    "empty_like", "empty_strided", "expand", "lift_fresh", "narrow", "new_empty", "permute",
    "new_empty_strided", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t",
    "transpose", "unbind", "unfold", "unsqueeze", "view", "view_as",
}  # fmt: skip


class GpuTensor(torch.Tensor):
    """A tensor `content` of the CPU that reports the GPU as its device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: torch.Tensor):
        layout = {"strides": content.stride(), "storage_offset": content.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, content.size(), dtype=content.dtype, device=CPU, **layout
        )
        made.content = content
        return made

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return EmulatedCuda.active.operation(function, args, kwargs or {})

    def to(self, *args, **kwargs):
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        made = self if dtype in (None, self.dtype) else super().to(dtype)
        if device == CPU:
            EmulatedCuda.active.waits["copy to cpu"] += 1
            return made.content.clone()
        return made.clone() if kwargs.get("copy") and made is self else made

    def cpu(self, *_, **__):
        return self.to(CPU)

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def __tensor_flatten__(self):  # makes modules swap their parameters, not only the values
        return ["content"], None

    @staticmethod
    def __tensor_unflatten__(inner, _, size, stride):
        return GpuTensor(inner["content"])

    def __reduce_ex__(self, protocol):  # saved as a CPU tensor; the files are read to the CPU
        return self.content.__reduce_ex__(protocol)


class _Mode(TorchDispatchMode):
    """Intercepts operations without a `GpuTensor` too, as those that make one."""


# Not in the class, where PyTorch would wrap it and load its compiler.
_Mode.__torch_dispatch__ = lambda self, function, types, args=(), kwargs=None: (
    EmulatedCuda.active.operation(function, args, kwargs or {})
)


class EmulatedCuda:
    """Context in which PyTorch has a GPU; counts kernels by name and host waits by cause."""

    active: "EmulatedCuda"

    def __init__(self):
        self.memory, self.launches, self.waits = 8e10, Counter(), Counter()
        self._storages: dict[int, int] = {}  # bytes by address of the storage

    @property
    def allocated(self) -> int:
        return sum(list(self._storages.values()))  # bytes; threads change it

    def clear(self) -> None:
        self.launches.clear()
        self.waits.clear()

    def operation(self, function, args, kwargs):
        """Check and count an operation, and do it on the CPU."""
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        remote = [x for x in tensors if isinstance(x, GpuTensor)]
        if not remote and torch.device(kwargs.get("device") or CPU) == CPU:
            return function(*args, **kwargs)
        # What is made is on the GPU: to C++, a tensor "like" one of the GPU is one of the CPU.
        name = function._schema.name.removeprefix("aten::")
        indices = [x for x in args[1] if x is not None] if name in INDEXING else []
        self._check(name, tensors, args)
        self._count(name, tensors, indices, kwargs)
        content, named = tree_map(_content, (args, kwargs))
        made = function(*content, **named)
        if name == "copy_":
            return args[0]
        wrappers = {id(x.content): x for x in remote}  # of operations in place

        def wrapped(x):
            if not isinstance(x, torch.Tensor):
                return x
            return wrappers[id(x)] if id(x) in wrappers else self.send(x)

        return tree_map(wrapped, made)

    def send(self, content: torch.Tensor) -> GpuTensor:
        """A CPU tensor as one of the GPU, whose memory it takes."""
        storage = content.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            if self.allocated + size > self.memory:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            self._storages[key] = size
            weakref.finalize(storage, self._storages.pop, key, None)
        return GpuTensor(content)

    def _check(self, name, tensors, args):
        """Refuse operands on two devices where CUDA does."""
        if name in COPIES or len({x.device for x in tensors}) == 1:
            return
        if name in INDEXING:  # indices may be on the CPU
            rest = [x for x in args[2:] if isinstance(x, torch.Tensor) and x.dim()]
            wrong = any(x.device == CPU for x in [args[0], *rest])
        else:  # numbers may be on the CPU, but those of a fused optimiser
            wrong = any(x.device == CPU and (x.dim() or "fused" in name) for x in tensors)
        if wrong:
            raise RuntimeError(f"tensors on two devices: {name}")

    def _count(self, name, tensors, indices, kwargs):
        self.launches[name] += name not in NO_KERNEL
        if name in SYNCHRONOUS:
            self.waits[name] += 1
        elif name in COPIES:
            is_queued = kwargs.get("non_blocking") and getattr(tensors[-1], "pinned", False)
            target = GPU if name == "_to_copy" else tensors[0].device
            if tensors[-1].device != target and not is_queued:
                self.waits[f"copy to {target.type}"] += 1
        elif any(x.device == CPU or x.dtype == torch.bool for x in indices):
            self.waits["index on the CPU, or mask"] += 1

    def __enter__(self):
        """Make PyTorch believe it."""
        EmulatedCuda.active, self._stack = self, ExitStack()
        before = torch._C._only_lift_cpu_tensors()  # torch.tensor(..., device="cuda")
        torch._C._set_only_lift_cpu_tensors(True)
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        run, autocast = threading.Thread.run, torch.autocast

        def run_with_mode(thread):  # modes are those of a thread
            with _Mode():
                run(thread)

        def free_and_all(device=None):
            return self.memory - self.allocated, self.memory

        def pin_memory(tensor):
            pinned = tensor.clone()
            pinned.pinned = True
            return pinned

        for owner, name, value in (
            (torch.cuda, "_lazy_init", lambda: None),
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "device_count", lambda: 1),
            (torch.cuda, "set_device", lambda device: None),
            (torch.cuda, "get_device_name", lambda device=None: "emulated GPU"),
            (torch.cuda, "mem_get_info", free_and_all),
            (torch.Tensor, "pin_memory", pin_memory),
            (torch, "autocast", lambda kind, *args, **kwargs: autocast("cpu", *args, **kwargs)),
            (torch, "inference_mode", torch.no_grad),  # in which a `GpuTensor` can't have views
            (threading.Thread, "run", run_with_mode),
        ):
            self._stack.enter_context(mock.patch.object(owner, name, value))
        self._stack.enter_context(_Mode())
        return self

    def __exit__(self, *error):
        self._stack.__exit__(*error)


def _content(x):
    if isinstance(x, GpuTensor):
        return x.content
    return CPU if isinstance(x, torch.device) else x
