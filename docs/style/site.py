"""What the site needs beyond the pages: those of the root, and links to files that are not pages.

In the repository a link to a test or an example opens the file. The site has none of them: until
`repo_url` of mkdocs.yml is set the link becomes the file's name.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
# Pages of the repository's root, and what they are called here.
OF_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES = {**OF_ROOT, "README.md": "index.md"}
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root."""
    for name, page in OF_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=in_site(text, "", config.repo_url)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let the links of a page lead to pages of the site, or to the repository."""
    uri = page.file.src_uri
    if uri in OF_ROOT.values():
        return markdown
    return in_site(markdown, f"docs/{PurePosixPath(uri).parent}", config.repo_url)


def in_site(text: str, folder: str, repository: str | None) -> str:
    """Rewrite links of a page in a folder of the repository."""

    def rewritten(link: re.Match[str]) -> str:
        path = normpath(f"{folder}/{link['target']}" if folder else link["target"])
        if path.startswith("docs/"):
            inside = folder.startswith("docs") or not path.endswith(".md")
            return link[0] if inside else f"[{link['text']}]({path[5:]}{link['anchor'] or ''})"
        up = "../" * len(PurePosixPath(folder).parts[1:])
        if path in PAGES:
            anchor = "" if path == "README.md" else link["anchor"] or ""
            return f"[{link['text']}]({up}{PAGES[path]}{anchor})"
        if repository:
            return f"[{link['text']}]({repository.rstrip('/')}/blob/main/{path})"
        return link["text"]

    return LINK.sub(rewritten, text)
