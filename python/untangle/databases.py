"""What is in a database of features?"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import UntangleError

APPLICATION, VERSION = 0x556E7467, 7
# Where one label is shown, it is one of what makes the feature fire before one of what it says, the best first.
BEST = """
SELECT f.id, f.density, f.max_activation, f.mean_activation, f.held_out_firings, b.text AS label, b.kind, b.source,
       b.value AS f1, b.low AS f1_low, b.high AS f1_high, b.floor AS f1_floor, b.control AS f1_control
FROM features f LEFT JOIN (
    SELECT l.feature, l.kind, l.source, l.text, s.value, s.low, s.high, s.floor, s.control,
           row_number() OVER (PARTITION BY l.feature ORDER BY l.kind, s.value DESC NULLS LAST, l.source) AS place
    FROM labels l LEFT JOIN scores s ON (s.feature, s.kind, s.source, s.scorer) = (l.feature, l.kind, l.source, 'f1')
) b ON b.feature = f.id AND b.place = 1 ORDER BY f.id"""


class Features:
    """A database of features, as ``untangle features`` writes it. What is asked for comes as pandas' tables.

    >>> features = Features("features.db")
    >>> features.table().nlargest(10, "f1")[["label", "f1"]]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UntangleError(f"{self.path}: no such file; `untangle features` makes it")
        self.connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        """The open database, for queries of one's own; it can only be read."""
        try:
            application, version = (self._one(f"PRAGMA {name}") for name in ("application_id", "user_version"))
        except sqlite3.DatabaseError as error:
            raise UntangleError(f"{self.path}: {error}; `untangle features` makes a database of features") from None
        if application != APPLICATION:
            raise UntangleError(f"{self.path} is no database of features; `untangle features` makes one")
        if version != VERSION:
            raise UntangleError(f"{self.path} has version {version}, and this reads {VERSION}; make it again with `untangle features`")

    def _one(self, query: str) -> Any:
        return self.connection.execute(query).fetchone()[0]

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM features"))

    @property
    def run(self) -> dict[str, Any]:
        """How the database was made."""
        return {key: json.loads(value) for key, value in self.connection.execute("SELECT key, value FROM run")}

    def table(self) -> pd.DataFrame:
        """All features, dead ones included, each with its best label and the label's F1 beside what knowing nothing reaches."""
        return pd.read_sql(BEST, self.connection, index_col="id")

    def labels(self) -> pd.DataFrame:
        """All labels of all sources, with a row for each of their scores."""
        query = "SELECT * FROM labels LEFT JOIN scores USING (feature, kind, source) ORDER BY feature, kind, source, scorer"
        return pd.read_sql(query, self.connection)

    def examples(self, feature: int, kind: Literal["top", "sampled", "band", "near"] = "top") -> pd.DataFrame:
        """Windows of text where a feature fires, the strongest first, with the activation of every token."""
        found = self._of(feature, "SELECT * FROM examples WHERE feature = ? AND kind = ? ORDER BY rank", kind)
        found["tokens"] = found["tokens"].map(json.loads)
        found["activations"] = found["activations"].map(lambda blob: np.frombuffer(blob, "<f4"))
        return found

    def logits(self, feature: int) -> pd.DataFrame:
        """The tokens that a feature's direction raises (``side`` is ``top``) and lowers most."""
        return self._of(feature, "SELECT * FROM logits WHERE feature = ? ORDER BY side DESC, rank")

    def neighbours(self, feature: int) -> pd.DataFrame:
        """Other features that are near."""
        return self._of(feature, "SELECT * FROM neighbours WHERE feature = ? ORDER BY kind, rank")

    def histogram(self, feature: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Edges of activation, and how many rows lie between each two of them."""
        text = self._of(feature, "SELECT histogram FROM features WHERE id = ?")["histogram"][0]
        found = json.loads(text)
        return np.array(found["edges"], float), np.array(found["counts"], np.int64)

    def _of(self, feature: int, query: str, *more: str) -> pd.DataFrame:
        if not 0 <= feature < len(self):
            raise UntangleError(f"{self.path} has no feature {feature}; it has {len(self)}")
        return pd.read_sql(query, self.connection, params=[int(feature), *more])

    def close(self) -> None:
        """Closes the database."""
        self.connection.close()

    def __enter__(self) -> Features:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Features({str(self.path)!r}, {len(self)} features)"
