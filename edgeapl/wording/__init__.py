"""Wording of numbers and verdicts, wherever they are shown.

`edgeapl.wording.numbers` formats a number so that it appears on the correct side of its limit,
`edgeapl.wording.verdicts` has the headline, the order of the reasons and the figures. The rule's
own sentences are in `edgeapl.stages.reasons`. Nothing else words a verdict.
"""
