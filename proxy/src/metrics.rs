//! What an operator sees: counters, gauges and histograms in the Prometheus text format.
//!
//! Labels come from fixed sets only (documented routes, providers, outcome words), so that nothing
//! a client sends can become a label, or make their number grow.
//!
//! This file is long because it is one list: every metric stands here once, with its name, its help
//! and its labels, and the page for operators is compared with it.

use crate::breaker::Change;
use crate::context::Cx;
use crate::result::{Finished, Skip};
use crate::rotation::{Rotations, State, Taken};
use crate::upstream::Tally;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use providers::Validity;
use providers::webhook::Unproven;
use std::time::Duration;
use vault::audit::Action;
use vault::{Figures, Pick, Vault};

/// All metrics of the program.
pub(crate) struct Metrics {
    account_validations: IntCounterVec,
    accounts_left_alone: IntGaugeVec,
    accounts_skipped: IntCounterVec,
    breaker_changes: IntCounterVec,
    connections: IntGauge,
    connections_cut: IntCounterVec,
    connections_refused: IntCounterVec,
    exchange_seconds: HistogramVec,
    exchanges: IntCounterVec,
    limited: IntCounterVec,
    log_lines_dropped: IntCounter,
    notices: IntCounterVec,
    operations: IntCounterVec,
    payments_in_flight: IntGauge,
    overdue: IntCounter,
    phases: [Histogram; Phase::ALL.len()],
    resolutions: IntCounterVec,
    refusals: IntCounterVec,
    registry: Registry,
    request_seconds: HistogramVec,
    requests: IntCounterVec,
    rotation_steps: IntCounterVec,
    staged: IntGaugeVec,
    staged_payments: IntCounterVec,
    unmapped: IntCounterVec,
    vault: IntGaugeVec,
    webhooks_refused: IntCounterVec,
}

/// A part of a request that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Admit,
    Body,
    Decode,
    /// Writing to the journal, and waiting for the disk.
    Journal,
    OpenAccount,
    OpenCard,
}

/// Counts something that goes on for as long as it lives.
pub(crate) struct Ongoing(IntGauge);

/// Bounds of the latency buckets in seconds: from 50 us to two minutes. Above 10 s they are close, since
/// there the deadlines of exchanges are.
#[expect(clippy::disallowed_types, reason = "the metrics library counts seconds in f64")]
const BUCKETS: [f64; 23] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0,
];

// === impl Metrics ===

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// # Errors
    /// When a name is used twice or not valid: a mistake in this file.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let build =
            gauges(&registry, "build_info", "The version that runs; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            account_validations: counters(
                &registry,
                "account_validations_total",
                "Questions to a provider whether credentials are good, by its answer.",
                &["provider", "result"],
            )?,
            accounts_left_alone: gauges(
                &registry,
                "accounts_left_alone",
                "Accounts that are left alone because their provider failed.",
                &["provider"],
            )?,
            accounts_skipped: counters(
                &registry,
                "accounts_skipped_total",
                "Accounts that a payment left out, and why.",
                &["provider", "why"],
            )?,
            breaker_changes: counters(
                &registry,
                "breaker_changes_total",
                "Accounts that were left alone from then on, or no longer.",
                &["provider", "to"],
            )?,
            connections: gauge(&registry, "connections", "Open client connections.")?,
            connections_cut: counters(
                &registry,
                "connections_cut_total",
                "Connections ended because of what their other side did not do.",
                &["why"],
            )?,
            connections_refused: counters(
                &registry,
                "connections_refused_total",
                "Connections closed at once because a limit was reached.",
                &["limit"],
            )?,
            exchange_seconds: histograms(
                &registry,
                "exchange_seconds",
                "Time at a provider, summed over the exchanges of one operation at one account.",
                &["provider"],
            )?,
            exchanges: counters(
                &registry,
                "exchanges_total",
                "Requests sent to a provider, by whether a kept connection was used.",
                &["provider", "connection"],
            )?,
            limited: counters(
                &registry,
                "limited_total",
                "Requests refused because of a limit on their rate.",
                &["limit"],
            )?,
            log_lines_dropped: counter(
                &registry,
                "access_log_dropped_total",
                "Lines that could not be written to the access log.",
            )?,
            notices: counters(
                &registry,
                "notices_total",
                "What providers told of their own accord, by what came of it.",
                &["provider", "result"],
            )?,
            operations: counters(
                &registry,
                "operations_total",
                "Payment operations by provider, kind and outcome.",
                &["provider", "operation", "outcome"],
            )?,
            overdue: counter(
                &registry,
                "resolutions_overdue_total",
                "Outcomes that were unknown for longer than they may be.",
            )?,
            resolutions: counters(
                &registry,
                "resolutions_total",
                "Questions to a provider about a lost answer, by what they brought.",
                &["provider", "outcome"],
            )?,
            payments_in_flight: gauge(
                &registry,
                "payments_in_flight",
                "Payment operations that have begun and not ended.",
            )?,
            phases: {
                let help = "Time in one phase of a request.";
                let all = histograms(&registry, "phase_seconds", help, &["phase"])?;
                Phase::ALL.map(|phase| all.with_label_values(&[phase.word()]))
            },
            refusals: counters(
                &registry,
                "refusals_total",
                "Requests refused, by the stable code that the client was given.",
                &["code"],
            )?,
            request_seconds: histograms(
                &registry,
                "request_seconds",
                "Time from the complete head of a request to the end of its answer.",
                &["route"],
            )?,
            requests: counters(
                &registry,
                "requests_total",
                "Requests by route and status.",
                &["route", "status"],
            )?,
            rotation_steps: counters(
                &registry,
                "rotation_steps_total",
                "Steps of rotations of credentials, and whether they were taken.",
                &["step", "taken"],
            )?,
            staged: gauges(
                &registry,
                "staged_accounts",
                "Accounts that have credentials staged, by their state.",
                &["state"],
            )?,
            staged_payments: counters(
                &registry,
                "staged_payments_total",
                "Payments at accounts that have credentials staged, by the credentials that were \
                 used, and whether the provider refused the payment because of them.",
                &["credentials", "refused"],
            )?,
            unmapped: counters(
                &registry,
                "unmapped_total",
                "Answers of a provider with a word that no table knows; each is worth a mapping.",
                &["provider"],
            )?,
            vault: gauges(
                &registry,
                "vault",
                "Figures of the vault since its start.",
                &["figure"],
            )?,
            webhooks_refused: counters(
                &registry,
                "webhooks_refused_total",
                "Webhooks of which nothing was believed, by why.",
                &["reason"],
            )?,
            registry,
        })
    }

    /// Counts a connection for as long as the value lives.
    pub(crate) fn connection_opened(&self) -> Ongoing {
        Ongoing::begin(&self.connections)
    }

    /// Counts a connection that was ended because of what its other side did not do.
    pub(crate) fn connection_cut(&self, why: &str) {
        self.connections_cut.with_label_values(&[why]).inc();
    }

    /// Counts a connection that was closed because of `limit`.
    pub(crate) fn connection_refused(&self, limit: &str) {
        self.connections_refused.with_label_values(&[limit]).inc();
    }

    /// Counts a payment for as long as the value lives.
    pub(crate) fn payment_begun(&self) -> Ongoing {
        Ongoing::begin(&self.payments_in_flight)
    }

    /// How many payments have begun and not ended.
    pub(crate) fn payments_in_flight(&self) -> i64 {
        self.payments_in_flight.get()
    }

    /// Counts a request that `limit` refused.
    pub(crate) fn limited(&self, limit: &str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Counts lines that the access log lost.
    pub(crate) fn log_lines_dropped(&self, lines: u64) {
        self.log_lines_dropped.inc_by(lines);
    }

    /// Counts a request that has been answered with `status`.
    pub(crate) fn request_done(&self, cx: &Cx, status: u16) {
        self.requests.with_label_values(&[cx.route, status_word(status)]).inc();
        self.request_seconds.with_label_values(&[cx.route]).observe(seconds(cx.started.elapsed()));
        if let Some(code) = cx.refusal {
            self.refusals.with_label_values(&[code]).inc();
        }
        for (phase, time) in [
            (Phase::Admit, cx.phases.admit),
            (Phase::Body, cx.phases.body),
            (Phase::Decode, cx.phases.decode),
        ] {
            if !time.is_zero() {
                self.phase(phase, time);
            }
        }
    }

    /// Counts the time of one phase of a request.
    pub(crate) fn phase(&self, phase: Phase, time: Duration) {
        if let Some(histogram) = self.phases.get(phase as usize) {
            histogram.observe(seconds(time));
        }
    }

    /// Counts an operation that has ended, whether or not anybody is left to be told.
    pub(crate) fn operation_done(&self, finished: &Finished) {
        let provider = finished.provider;
        let labels = [provider, finished.kind.word(), finished.outcome_word()];
        self.operations.with_label_values(&labels).inc();
        if finished.is_unmapped() {
            self.unmapped.with_label_values(&[provider]).inc();
        }
    }

    /// Counts what was sent to the provider of one account for an operation.
    pub(crate) fn exchanged(&self, provider: &'static str, tally: Tally) {
        if tally.exchanges == 0 {
            return;
        }
        self.exchange_seconds.with_label_values(&[provider]).observe(seconds(tally.time));
        let fresh = tally.exchanges.saturating_sub(tally.reused);
        for (connection, count) in [("kept", tally.reused), ("new", fresh)] {
            if count == 0 {
                continue;
            }
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.exchanges.with_label_values(&[provider, connection]).inc_by(count);
        }
    }

    /// Counts what a provider told of its own accord.
    pub(crate) fn notice_heard(&self, provider: &'static str, result: &'static str) {
        self.notices.with_label_values(&[provider, result]).inc();
    }

    /// Counts a webhook of which nothing was believed.
    pub(crate) fn webhook_refused(&self, why: Unproven) {
        self.webhooks_refused.with_label_values(&[why.word()]).inc();
    }

    /// Counts a question to a provider about a lost answer.
    pub(crate) fn resolved(&self, provider: &'static str, outcome: &'static str) {
        self.resolutions.with_label_values(&[provider, outcome]).inc();
    }

    /// Counts an outcome that has been unknown for too long.
    pub(crate) fn resolution_overdue(&self) {
        self.overdue.inc();
    }

    /// Counts an account that a payment left out.
    pub(crate) fn skipped(&self, provider: &'static str, why: Skip) {
        self.accounts_skipped.with_label_values(&[provider, why.label()]).inc();
    }

    /// Counts that an account is left alone from now on, or no longer, as `open` of the provider.
    pub(crate) fn breaker(&self, provider: &'static str, change: Change, open: usize) {
        let to = match change {
            Change::Opened => "open",
            Change::Closed => "closed",
        };
        self.breaker_changes.with_label_values(&[provider, to]).inc();
        self.left_alone(provider, open);
    }

    /// Notes at how many accounts of a provider breakers are open.
    pub(crate) fn left_alone(&self, provider: &'static str, open: usize) {
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        self.accounts_left_alone.with_label_values(&[provider]).set(open);
    }

    /// Counts a question to a provider about credentials.
    pub(crate) fn account_validated(&self, provider: &'static str, validity: Validity) {
        let labels = [provider, validity.word()];
        self.account_validations.with_label_values(&labels).inc();
    }

    /// Counts a step of a rotation.
    pub(crate) fn rotation_step(&self, action: Action, taken: bool) {
        let taken = if taken { "yes" } else { "no" };
        self.rotation_steps.with_label_values(&[action.word(), taken]).inc();
    }

    /// Counts a payment at an account with staged credentials.
    pub(crate) fn staged_payment(&self, pick: Pick, taken: Taken) {
        let credentials = match pick {
            Pick::Current => "current",
            Pick::Staged => "staged",
        };
        let refused = match taken {
            Taken::No => "yes",
            Taken::Yes => "no",
        };
        self.staged_payments.with_label_values(&[credentials, refused]).inc();
    }

    /// Takes over how many accounts have something staged.
    pub(crate) fn rotations(&self, rotations: &Rotations) {
        for state in State::ALL {
            let count = i64::try_from(rotations.in_state(state)).unwrap_or(i64::MAX);
            self.staged.with_label_values(&[state.label()]).set(count);
        }
    }

    /// Everything in the Prometheus text format 0.0.4.
    pub(crate) fn text(&self, vault: &Vault) -> Vec<u8> {
        for (figure, value) in rows(&vault.figures()) {
            self.vault.with_label_values(&[figure]).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let health = vault.health();
        self.vault.with_label_values(&["audit_up"]).set(i64::from(health.audit));
        self.vault.with_label_values(&["store_up"]).set(i64::from(health.store));
        self.vault.with_label_values(&["hsm_up"]).set(i64::from(health.hsm));
        let mut text = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut text).is_err() {
            log::error!("the metrics could not be written");
        }
        text
    }
}

/// Every figure by its name; one that is added must be thought of here.
fn rows(figures: &Figures) -> [(&'static str, u64); 55] {
    let Figures {
        audit,
        commits,
        commit_wait_sum_us,
        commit_wait_max_us,
        commits_waiting,
        flushes,
        refused_full,
        disk_bytes,
        log_gaps,
        hsm_calls,
        hsm_errors,
        seals,
        opens,
        opens_refused,
        tokens_kept,
        tokens_opened,
        tokens_expired,
        cvvs_in_memory,
        payments_open,
        payments_in_doubt,
        payments_stray,
        keys_pre_active,
        keys_active,
        keys_decrypt_only,
        keys_destroyed,
        key_seals_max,
        key_seals_limit,
        key_age_max_s,
        kek_age_s,
        kek_age_max_s,
        deletion_age_max_s,
        custodians,
        custodians_new,
        keys_locked,
        hsm_silent_ms,
        key_memory_locked_bytes,
        key_memory_unlocked_bytes,
        process_dumpable,
        process_memory_locked,
        rotating,
        rotation_keys,
        rotation_keys_done,
        rotation_records,
        rotation_refused,
        rotations_ended,
        backups,
        backup_time,
        verifies,
        verifies_failed,
        ledger,
    } = *figures;
    [
        ("audit_bytes", audit.bytes),
        ("audit_head_time_ms", audit.head_time),
        ("audit_lines", audit.lines),
        ("audit_refused", audit.refused),
        ("audit_syncs", audit.syncs),
        ("audit_waiting", audit.waiting),
        ("commits", commits),
        ("commit_wait_sum_us", commit_wait_sum_us),
        ("commit_wait_max_us", commit_wait_max_us),
        ("commits_waiting", commits_waiting),
        ("flushes", flushes),
        ("refused_full", refused_full),
        ("disk_bytes", disk_bytes),
        ("log_gaps", log_gaps),
        ("hsm_calls", hsm_calls),
        ("hsm_errors", hsm_errors),
        ("seals", seals),
        ("opens", opens),
        ("opens_refused", opens_refused),
        ("tokens_kept", tokens_kept),
        ("tokens_opened", tokens_opened),
        ("tokens_expired", tokens_expired),
        ("cvvs_in_memory", cvvs_in_memory),
        ("payments_open", payments_open),
        ("payments_in_doubt", payments_in_doubt),
        ("payments_stray", payments_stray),
        ("keys_pre_active", keys_pre_active),
        ("keys_active", keys_active),
        ("keys_decrypt_only", keys_decrypt_only),
        ("keys_destroyed", keys_destroyed),
        ("key_seals_max", key_seals_max),
        ("key_seals_limit", key_seals_limit),
        ("key_age_max_s", key_age_max_s),
        ("kek_age_s", kek_age_s),
        ("kek_age_max_s", kek_age_max_s),
        ("deletion_age_max_s", deletion_age_max_s),
        ("custodians", custodians),
        ("custodians_new", custodians_new),
        ("keys_locked", keys_locked),
        ("hsm_silent_ms", hsm_silent_ms),
        ("key_memory_locked_bytes", key_memory_locked_bytes),
        ("key_memory_unlocked_bytes", key_memory_unlocked_bytes),
        ("process_dumpable", process_dumpable),
        ("process_memory_locked", process_memory_locked),
        ("rotating", rotating),
        ("rotation_keys", rotation_keys),
        ("rotation_keys_done", rotation_keys_done),
        ("rotation_records", rotation_records),
        ("rotation_refused", rotation_refused),
        ("rotations_ended", rotations_ended),
        ("backups", backups),
        ("backup_time_ms", backup_time),
        ("verifies", verifies),
        ("verifies_failed", verifies_failed),
        ("ledger", ledger),
    ]
}

#[expect(clippy::disallowed_types, reason = "the metrics library counts seconds in f64")]
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// The statuses that this program answers with, so that the label needs no text to be made.
fn status_word(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        411 => "411",
        413 => "413",
        414 => "414",
        415 => "415",
        417 => "417",
        422 => "422",
        429 => "429",
        431 => "431",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("orchestra")
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let made = IntCounter::with_opts(opts(name, help))?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    let made = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let made = IntGauge::with_opts(opts(name, help))?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    let made = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::from(opts(name, help)).buckets(BUCKETS.to_vec());
    let made = HistogramVec::new(opts, labels)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

// === impl Phase ===

impl Phase {
    /// In the order of their numbers.
    const ALL: [Self; 6] =
        [Self::Admit, Self::Body, Self::Decode, Self::Journal, Self::OpenAccount, Self::OpenCard];

    fn word(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Body => "body",
            Self::Decode => "decode",
            Self::Journal => "journal",
            Self::OpenAccount => "open_account",
            Self::OpenCard => "open_card",
        }
    }
}

// === impl Ongoing ===

impl Ongoing {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, status_word};
    use filters::reject::Reject;
    use prometheus::TextEncoder;

    #[test]
    fn the_time_at_a_provider_has_bounds_where_its_deadlines_are() {
        let metrics = Metrics::new().unwrap();
        metrics.exchange_seconds.with_label_values(&["stripe"]);
        let text = TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        // The default of exchange_timeout_ms and what it can be at most are among them.
        for bound in ["10", "15", "20", "30", "45", "60", "120"] {
            let line = format!("exchange_seconds_bucket{{provider=\"stripe\",le=\"{bound}\"}}");
            assert!(text.contains(&line), "{line}");
        }
    }

    #[test]
    fn no_status_of_a_refusal_is_another_one() {
        for reject in Reject::ALL {
            assert_eq!(status_word(reject.status()), reject.status().to_string(), "{reject:?}");
        }
    }
}
