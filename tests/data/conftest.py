from pathlib import Path

import h5py
import numpy as np


def write_axes(file, data, axes) -> None:
    """Scales of a data set of HDF5: values by name, or None for a size alone, as netCDF has it."""
    for axis, (name, values) in enumerate(axes.items()):
        size = np.zeros(data.shape[axis], "f4")
        file[name] = size if values is None else values
        text = f"This is a netCDF dimension but not a netCDF variable. {len(size):9}"
        file[name].make_scale(text if values is None else name)
        data.dims[axis].attach_scale(file[name])


def write_damaged(path, name, values, chunks, number, **attributes) -> Path:
    """A data set of HDF5 whose compressed chunk of this number is zeros."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=values, chunks=chunks, compression="gzip")
        data.attrs.update(attributes)
        place = data.id.get_chunk_info(number)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(bytes(place.size))
    return path
