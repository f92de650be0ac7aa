"""Where the store keeps the id of the deployment that it belongs to, with one data folder.

The id is made by the first server that opens the store: it has to know the folder, too.
"""

import sqlalchemy
from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "deployment",
        Column("is_only", Integer, nullable=False, autoincrement=False),
        Column("deployment_id", Text, nullable=False),
        sqlalchemy.PrimaryKeyConstraint("is_only", name=op.f("pk_deployment")),
        sqlalchemy.CheckConstraint("is_only = 1", name=op.f("ck_deployment_is_only_one")),
        sqlalchemy.CheckConstraint(
            "length(deployment_id) = 32", name=op.f("ck_deployment_deployment_id_is_one")
        ),
    )
