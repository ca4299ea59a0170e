"""EdgeAPL raises the alarm for acute promyelocytic leukaemia at the microscope.

Research use only. Importing this package loads nothing heavy; import the module you need.
"""

from __future__ import annotations

__version__ = "0.1.0"
