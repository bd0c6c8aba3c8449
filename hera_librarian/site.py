"""What a server says of itself."""

from pydantic import BaseModel, ConfigDict


class SiteInfo(BaseModel):
    """Answer of `GET /api/v3/`: who the site is and what its version 3 can do.

    `host_name` is the machine it runs on; `max_upload_size_bytes` is None where there is no limit of its own;
    `directory_products` are shell patterns of directories that are one product each.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = ""
    displayed_name: str = ""
    description: str = ""
    version: str = ""
    features: tuple[str, ...] = ()
    max_upload_size_bytes: int | None = None
    directory_products: tuple[str, ...] = ()
    host_name: str = ""

    def can(self, feature: str) -> bool:
        """Whether the site names this feature."""
        return feature in self.features
