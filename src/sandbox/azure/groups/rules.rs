//! The numbers that the subscription goes by. The limits are Azure's own by default; the delays are short, since nobody
//! wants to wait for a stand-in as long as for the real thing.

use std::time::Duration;

/// Times and limits of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct AzureRules {
    /// From the acceptance of a group until its image is pulled: `Pending`.
    pub scheduling: Duration,
    /// From then until its containers run: `Creating`.
    pub pulling: Duration,
    /// How long a deletion takes, once the processes are gone. Zero answers 200 at once instead of 202.
    pub deletion: Duration,
    /// Before a container that ended is started again, where the restart policy says so.
    pub restart_delay: Duration,
    /// How long a process may take to end when it is asked to.
    pub grace: Duration,
    /// Whether a group that is being created or updated refuses to be deleted. One that is stuck can always be deleted.
    pub refuse_deletion_in_transition: bool,
    /// How many groups there may be in one region; those that have finished count until they are deleted.
    pub groups_per_region: u32,
    /// How many cores the groups of one region may have together.
    pub cores_per_region: f64,
    /// The status of a refusal for want of quota: 409, or 503 as Azure answers now and then.
    pub quota_status: u16,
    /// How many groups may be created, and how many deleted, within each of these spans.
    pub writes_within: Vec<(u32, Duration)>,
    /// The token bucket of reads.
    pub reads: Bucket,
    /// The token bucket of writes.
    pub writes: Bucket,
    /// The token bucket of deletions.
    pub deletes: Bucket,
    /// The most cores of one group.
    pub max_cores: f64,
    /// The most memory of one group, in GB.
    pub max_memory_gb: f64,
    /// What `Retry-After` says while an operation is going on, in seconds.
    pub retry_after: u64,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// How many calls it holds.
    pub capacity: u32,
    /// How many calls a second it is filled up by.
    pub per_second: f64,
}

impl Default for AzureRules {
    fn default() -> Self {
        Self {
            scheduling: Duration::from_millis(100),
            pulling: Duration::from_millis(200),
            deletion: Duration::from_millis(100),
            restart_delay: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            refuse_deletion_in_transition: true,
            groups_per_region: 100,
            cores_per_region: 100.0,
            quota_status: 409,
            writes_within: vec![(100, Duration::from_secs(300)), (300, Duration::from_secs(3600))],
            reads: Bucket { capacity: 250, per_second: 25.0 },
            writes: Bucket { capacity: 200, per_second: 10.0 },
            deletes: Bucket { capacity: 200, per_second: 10.0 },
            max_cores: 4.0,
            max_memory_gb: 16.0,
            retry_after: 1,
        }
    }
}
