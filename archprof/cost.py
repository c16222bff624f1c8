"""Cost: what one call of an operator computes, broken down by kind of arithmetic."""

import msgspec


class Cost(msgspec.Struct, frozen=True):
    """Exact operation counts. Which of them make a "FLOP" is a convention's choice (analysis.counting).

    Products on padding are counted as published figures do; a pool counts only elements inside.
    """

    multiply_adds: int = 0  # of convolutions, linear layers and matrix products
    bias_additions: int = 0
    additions: int = 0  # and subtractions
    multiplications: int = 0
    divisions: int = 0
    comparisons: int = 0
    special: int = 0  # exp, tanh, erf, sqrt, powers: one each
    fvcore: int = 0  # what fvcore counts for this operator beside its multiply-adds
    activations: int = 0  # elements put out by convolutions and linear layers

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.multiply_adds + other.multiply_adds,
            self.bias_additions + other.bias_additions,
            self.additions + other.additions,
            self.multiplications + other.multiplications,
            self.divisions + other.divisions,
            self.comparisons + other.comparisons,
            self.special + other.special,
            self.fvcore + other.fvcore,
            self.activations + other.activations,
        )

    def __mul__(self, times: int) -> "Cost":
        return Cost(
            self.multiply_adds * times,
            self.bias_additions * times,
            self.additions * times,
            self.multiplications * times,
            self.divisions * times,
            self.comparisons * times,
            self.special * times,
            self.fvcore * times,
            self.activations * times,
        )


# The names of the counting conventions, for whoever only needs to know a name (analysis.counting has the weights).
COUNTINGS = ("multiply_adds", "multiply_adds_with_bias", "operations", "fvcore")
