"""Extensions of the wire protocol that sites of this kind have in common.

A site names those it understands under `librarian_features` of its calls; the answer names the other's. What the other
does not name is not used with it: a Librarian without this list is *foreign* and gets the protocol as it always was.
"""

PARTIAL_BATCH = "partial_batch"  # a batch with an answer for each file
SSH_HOST = "ssh_host"  # rsync towards a host named for SSH
HTTP = "http"  # bytes as resumable uploads
RSYNC = "rsync"  # bytes by rsync over SSH
LOCAL = "local"  # bytes by copying into a shared directory
GLOBUS = "globus"  # bytes by Globus, which the sender has set up
BATCH_COMPLETE = "batch_complete"  # many completions in one call
FACTS = "facts"  # obsid, digests and times of a file travel with its offer
HOLDINGS = "holdings"  # which of many files are held
COUNTERPARTS = "counterparts"  # both ids of a transfer in every word about it

FEATURES = (PARTIAL_BATCH, SSH_HOST, HTTP, RSYNC, LOCAL, GLOBUS, BATCH_COMPLETE, FACTS, HOLDINGS, COUNTERPARTS)
