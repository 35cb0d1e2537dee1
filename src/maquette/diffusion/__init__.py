"""The mathematics every family shares: noise levels, what a network output means, how its error is weighed."""
