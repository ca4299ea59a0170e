"""Pure functions over values: gate, segment, crop, classify, reduce, judge."""
