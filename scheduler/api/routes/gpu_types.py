"""The GPU types that forecasts know."""

from __future__ import annotations

from fastapi import APIRouter

from predictor.hardware import load_gpu_types
from scheduler.api.context import Tenant
from scheduler.api.schemas.common import Page
from scheduler.api.schemas.gpu_types import GpuTypeOut
from scheduler.api.strict_json import JsonRoute

router = APIRouter(prefix="/gpu-types", tags=["offers"], route_class=JsonRoute)


@router.get("", summary="The GPU types")
def list_gpu_types(tenant: Tenant) -> Page[GpuTypeOut]:
    """Every GPU type with what it can do; a bare name such as `H100` in a constraint means all its variants."""
    return Page(items=[GpuTypeOut.model_validate(one, from_attributes=True) for one in load_gpu_types()], next=None)
