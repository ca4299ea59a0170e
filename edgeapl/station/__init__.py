"""The station: one camera, one slide after another, a verdict for each before its deadline."""
