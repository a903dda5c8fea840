"""Lines of a difference are told apart by the counts that git states, so that none can pass for another."""

from app.core.gitdiff import kinds

TEXT = """ refs/heads/main: aaaa -> bbbb
 bbbb Adds it
 diff --git a/a.sql b/a.sql
 index 1111111..2222222 100644
--- a/a.sql
+++ b/a.sql
@@ -1,3 +1,4 @@
 diff --git a/x b/x
--- a comment that goes
+++ b/no-head-but-a-line
++ and one more
 @@ -1,9 +1,9 @@
\\ No newline at end of file
 diff --git a/b b/b
 new file mode 100644
--- /dev/null
+++ b/b
@@ -0,0 +1 @@
+new"""


def test_what_looks_like_a_head_is_a_line_where_lines_are_due() -> None:
    found = [kind for kind, _ in kinds(TEXT.split("\n"))]
    heads = ["same", "same", "file", "head", "head", "head", "part"]
    lines = ["same", "removed", "added", "added", "same", "same"]
    assert found == heads + lines + ["file", "head", "head", "head", "part", "added"]


def test_a_difference_of_routes_has_signs_alone() -> None:
    assert [kind for kind, _ in kinds(["+ - host: a", "-   path: b", "  c", "@@ more", "--- d"])] == [
        "added", "removed", "same", "part", "removed",
    ]  # fmt: skip
