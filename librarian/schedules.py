"""Every periodic job of a site, as one table.

`manage.py sync_schedules` (part of every start) turns it into the clusters' schedules; staff switch, time and run the
jobs in the admin; `manage.py run_jobs` runs them here and now. Time boxes: what a job does in one run is bounded, and
the box is several times what it takes, since it is there for the store that hangs.
"""

from librarian.common.jobtable import Job, register_jobs

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600

# fmt: off
#   name, function, every, cluster, time box, why
JOBS = [
    Job("heartbeat", "librarian.common.heartbeat.beat", MINUTE, "default", 60,
        "Shows that the cluster works, and finds jobs that did not run although due."),
    Job("heartbeat_bulk", "librarian.common.heartbeat.beat", MINUTE, "bulk", 60,
        "Shows that the cluster for long jobs works."),
    Job("sweep_lost_runs", "librarian.common.housekeeping.sweep_lost_runs", MINUTE, "default", 60,
        "A job whose worker was killed must run again."),
    Job("finish_commits", "files.tasks.finish_commits", MINUTE, "default", 14 * MINUTE,
        "A delivery that a crash cut off in the middle is finished or undone."),
    Job("scan_watch_folders", "files.tasks.scan_watch_folders", 30, "default", 14 * MINUTE,
        "Files that instruments drop into watched folders are taken in soon."),
    Job("measure_stores", "stores.tasks.measure_stores", 5 * MINUTE, "default", 4 * MINUTE,
        "People and uploads must know which stores are there and how full they are."),
    Job("sweep_staging", "files.tasks.sweep_staging", 5 * MINUTE, "default", 10 * MINUTE,
        "Deliveries that their clients gave up must not hold space for ever."),
    Job("write_root", "files.tasks.write_root", DAY, "default", 10 * MINUTE,
        "The day's signed root makes a changed or cut-off history visible."),
    Job("verify_events", "files.tasks.verify_events", DAY, "bulk", 2 * HOUR,
        "Every file's history is compared with the signed roots, without trusting the database."),
    Job("check_invariants", "files.tasks.check_invariants", DAY, "bulk", 2 * HOUR,
        "Truths that the database cannot hold are looked at as a whole."),
    Job("forget_finished_uploads", "files.tasks.forget_finished_uploads", DAY, "default", 10 * MINUTE,
        "Closed deliveries would make the table of open ones slow."),
    Job("forget_watched_paths", "files.tasks.forget_watched_paths", DAY, "default", 10 * MINUTE,
        "Notes on products that have left their watch folder would grow for ever."),
    Job("thin_space_readings", "stores.tasks.thin_space_readings", DAY, "default", 10 * MINUTE,
        "Old measurements of space are kept by the day, not by the minute."),
    Job("choose_files", "network.services.sending.choosing.choose_files", 30, "default", 14 * MINUTE,
        "Files that standing orders want elsewhere are found soon, and their offering and sending set going."),
    Job("offer_files", "network.services.sending.offering.offer_files", 5 * MINUTE, "default", 14 * MINUTE,
        "Chosen files are offered to their peers, which make room for them."),
    Job("send_batches", "network.services.sending.carrying.send_batches", 5 * MINUTE, "bulk", 5 * HOUR,
        "Bytes of files that peers have made room for go over."),
    Job("tell_peers", "network.services.sending.telling.tell_peers", MINUTE, "default", 14 * MINUTE,
        "What a lost call left a peer not knowing is told again."),
    Job("follow_transfers", "network.services.sending.following.follow_transfers", 5 * MINUTE, "default", 14 * MINUTE,
        "Transfers of which no word came back are asked about, so that none waits for ever."),
    Job("receive_transfers", "network.services.receiving.taking_in.receive_transfers", 30, "bulk", 5 * HOUR,
        "Bytes that peers have brought are read back from disk, compared and taken in."),
    Job("report_transfers", "network.services.receiving.reporting.report_transfers", 30, "default", 14 * MINUTE,
        "Senders are told how their transfers ended, again and again until they know."),
    Job("ask_senders", "network.services.receiving.asking.ask_senders", 5 * MINUTE, "default", 14 * MINUTE,
        "Transfers whose sender went silent are asked about and ended."),
    Job("confirm_remote_instances", "network.services.sending.holdings.confirm_remote_instances", DAY, "bulk", 2 * HOUR,
        "Peers are asked whether they still hold what they said; what was lost is sent again."),
    Job("drop_duplicate_remote_instances", "network.services.sending.holdings.drop_duplicate_remote_instances", DAY,
        "default", 10 * MINUTE, "One copy at a peer that was noted under two of its stores is counted once."),
    Job("check_peers", "network.services.peering.checking.check_peers_in_turn", 5 * MINUTE, "default", 4 * MINUTE,
        "A peer that does not answer is known, and its reason, before files wait for it."),
    Job("forget_old_transfers", "network.services.tidying.forget_old_transfers", DAY, "default", 10 * MINUTE,
        "Ended transfers and sent batches would grow for ever."),
    Job("choose_copies", "network.services.copying.choosing.choose_copies", 30, "default", 14 * MINUTE,
        "Files that standing orders want on further stores, or on a disk that travels, are found soon."),
    Job("run_offloads", "files.services.offloading.run_offloads", MINUTE, "bulk", 2 * HOUR,
        "A store that is being emptied goes on being emptied, and what may go is marked."),
    Job("copy_files", "files.services.copying.copy_files", 30, "bulk", 5 * HOUR,
        "Copies that are wanted on other stores of ours are made, read back and compared."),
    Job("follow_shipments", "network.services.shipping.follow_shipments", 5 * MINUTE, "default", 14 * MINUTE,
        "A disk's custody says when its first file arrived and when all did, and that it is overdue."),
    Job("forget_old_copies", "files.services.copying.forget_old_copies", DAY, "default", 10 * MINUTE,
        "Ended copies would grow for ever."),
    Job("sync_schedules", "librarian.common.timetable.sync_schedules", HOUR, "default", 60,
        "Schedules that somebody changed by hand come back to what this table and the staff say."),
    Job("forget_old_rows", "librarian.common.housekeeping.forget_old_rows", DAY, "default", 10 * MINUTE,
        "Records of runs, ended sessions and cleared errors would grow for ever."),
]
# fmt: on


def register() -> None:
    """Make the table known to whoever runs, queues and shows jobs."""
    register_jobs(JOBS)
