"""How fast a bundle is on this machine: by stage, against a budget, against another, to a floor."""
