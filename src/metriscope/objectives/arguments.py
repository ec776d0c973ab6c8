"""Ranges and choices that arguments of several losses, miners and distances share."""

import math
from typing import Annotated, Literal

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
Similarity = Annotated[float, Field(ge=-1, le=1)]
CosineGap = Annotated[float, Field(ge=0, le=2)]
"""How far two cosines are apart."""
Radians = Annotated[float, Field(ge=0, le=math.pi)]
Count = Annotated[int, Field(ge=1)]
Reduction = Literal["mean", "sum", "mean_active"]
