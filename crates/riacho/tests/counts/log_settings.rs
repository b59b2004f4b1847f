//! What a log is opened with where its work is counted: by the tests here, and by `benches/log_counts.rs`.

use riacho::{
    config::StreamRules,
    log::{Settings, store::StoreSettings},
    rows::RowsSettings,
    schema::Schemas,
    view::ViewLimits,
};
use std::time::Duration;

/// A log with these rules that is small, and that no retention disturbs meanwhile.
pub(crate) fn small(rules: StreamRules) -> Settings {
    Settings {
        rules,
        create: true,
        views: ViewLimits { view_bytes_max: 4 << 20, views_bytes_max: 16 << 20 },
        store: StoreSettings {
            segment_bytes_max: 8 << 20,
            frame_bytes_max: 1 << 20,
            tail_bytes_max: 4 << 20,
            keys_age: Duration::from_secs(600),
            keys_max: 100,
            streams_max: 100,
        },
        schemas: Schemas::default(),
        row_bytes_max: 1 << 20,
        rows: RowsSettings { cache_bytes: 1 << 20, pending_bytes_max: 1 << 20 },
        views_max: 100_000,
        memory_bytes_max: 1 << 20,
        streams_max: 100,
        keys_max: 100,
        trim_interval: Duration::from_secs(3600),
    }
}
