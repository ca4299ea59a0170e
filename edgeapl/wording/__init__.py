"""How numbers and verdicts are put into words, wherever they are shown.

`edgeapl.wording.numbers` writes a number so that it stands on the right side of its limit,
`edgeapl.wording.verdicts` has the headline, the order of the reasons and the figures. What the rule
found is said in `edgeapl.stages.reasons`. Nothing else words a verdict.
"""
