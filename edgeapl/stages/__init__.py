"""Pure functions over values: gate, segment, crop, reduce, judge."""
