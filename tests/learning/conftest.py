"""What every test of runs may ask for: tiny bases, and the judges."""

from tests.learning.learned import judges
from tests.learning.small import bases

__all__ = ["bases", "judges"]
