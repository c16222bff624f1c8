from archprof.operators import convolution, _interim
from archprof.operators.base import REGISTRY, Operator, create, find, listed, listed_and, nearest, shown, required_fields
