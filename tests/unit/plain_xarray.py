"""xarray as an environment has it. dask-gateway stays as it is, for other tests of this process."""

from __future__ import annotations

from xarray.backends import netCDF4_, writers

from appliance.data import xarray_netcdf, xarray_writers

xarray_writers.install(writers)
xarray_netcdf.install(netCDF4_)
