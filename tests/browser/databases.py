"""Makes of a feature database one with hostile labels, and one of 65,536 features: databases.py PLAIN NASTY LARGE."""

import json
import shutil
import sqlite3
import sys

LARGE = 65_536
# Examples of a feature that the large one keeps.
KEPT = 4
NASTY = "</script><img src=x onerror=alert(1)><b>\"'`\\ \x1b[31m\x07\u202egnp.\u2066\u2028${1}"


def nasty(plain: str, path: str) -> None:
    """Puts what is hostile wherever a database has text."""
    shutil.copy(plain, path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT OR REPLACE INTO labels VALUES (3, 'input', ?, ?)", (NASTY, NASTY))
        db.execute("DELETE FROM labels WHERE feature = 3 AND source <> ?", (NASTY,))
        score = (3, "input", NASTY, NASTY, 0.5, 0.4, 0.6, 0.1, 0.2, 7, "{}", NASTY)
        db.execute("INSERT INTO scores VALUES (" + ", ".join("?" * len(score)) + ")", score)
        db.execute("UPDATE logits SET token = ? WHERE feature = 3", (NASTY,))
        rows = db.execute("SELECT kind, rank, tokens FROM examples WHERE feature = 3").fetchall()
        for kind, rank, tokens in rows:
            hostile = json.dumps([NASTY] * len(json.loads(tokens)))
            db.execute(
                "UPDATE examples SET tokens = ? WHERE feature = 3 AND kind = ? AND rank = ?", (hostile, kind, rank)
            )
        for key in ("sae", "store"):
            db.execute("UPDATE run SET value = ? WHERE key = ?", (json.dumps(NASTY), key))


def large(plain: str, path: str) -> None:
    """Repeats all features until there are so many."""
    shutil.copy(plain, path)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM examples WHERE rank >= ?", (KEPT,))
        n = db.execute("SELECT count(*) FROM features").fetchone()[0]
        for first in range(n, LARGE, n):
            for table in ("features", "labels", "scores", "examples", "logits", "neighbours"):
                # The number of the feature; `id` of logits is that of a token.
                key = "id" if table == "features" else "feature"
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                taken = ", ".join(f"{column} + {first}" if column == key else f'"{column}"' for column in columns)
                db.execute(f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE {key} < {n}")


if __name__ == "__main__":
    nasty(sys.argv[1], sys.argv[2])
    large(sys.argv[1], sys.argv[3])
