//! How the program ends: it takes no new payments, waits for those that run, and goes.

use crate::causes::causes;
use crate::certificates::Certificates;
use crate::configuration::load;
use crate::shared::Shared;
use async_trait::async_trait;
use conf::{CertificateFiles, Config};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

/// Watches the signals of the operating system.
///
/// SIGTERM and SIGINT end the program as soon as no payment runs any more, or after the grace
/// period. SIGHUP reads the certificates again, and the configuration to say what of it waits for a
/// start.
pub(crate) struct Watch {
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// What the program was started with.
    pub(crate) config: Config,
    /// Where that was read.
    pub(crate) file: PathBuf,
    pub(crate) shared: Arc<Shared>,
}

/// The one setting that takes effect without a start.
const CERTIFICATES: &str = "listen.tls.certificates";
/// How often it is looked whether payments still run.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the last answers have to leave, once the last payment has ended.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        self.wait_for_the_end().await;
        self.drain().await;
        // Pingora's graceful way would sleep through the whole grace period, payments or not.
        ShutdownSignal::FastShutdown
    }
}

// === impl Watch ===

impl Watch {
    async fn wait_for_the_end(&self) {
        let (mut term, mut int, mut hup) = match signals() {
            Ok(signals) => signals,
            Err(error) => {
                log::error!("signals cannot be watched: {error}");
                return std::future::pending().await;
            }
        };
        loop {
            tokio::select! {
                _ = term.recv() => return,
                _ = int.recv() => return,
                _ = hup.recv() => self.reload(),
            }
        }
    }

    /// Nothing of a file that is no good is used, and what it said before stays as it is.
    fn reload(&self) {
        match load(&self.file) {
            Ok(config) => {
                self.tell_of_changes(&config);
                self.reload_certificates(config.listen.tls.map(|tls| tls.certificates).as_deref());
            }
            Err(error) => {
                log::error!("the old configuration stays in use: {}", causes(&error));
                self.reload_certificates(None);
            }
        }
    }

    fn tell_of_changes(&self, config: &Config) {
        let changed = self.config.changed(config);
        let waiting: Vec<_> = changed.into_iter().filter(|field| field != CERTIFICATES).collect();
        if waiting.is_empty() {
            log::info!("the configuration was read again: nothing in it waits for a start");
        } else {
            log::warn!("changes that take effect with the next start: {}", waiting.join(", "));
        }
    }

    fn reload_certificates(&self, files: Option<&[CertificateFiles]>) {
        let Some(certificates) = &self.certificates else { return };
        match certificates.reload(files) {
            Ok(()) => log::info!("the certificates were read again"),
            Err(error) => log::error!("the old certificates stay in use: {}", causes(&error)),
        }
    }

    async fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        log::info!("ending: {} payments still run", self.shared.metrics.payments_in_flight());
        let until = Instant::now().checked_add(self.config.grace);
        // Not at once: a request may have seen the moment before that payments are taken, and be about
        // to be counted.
        sleep(LOOK_EVERY).await;
        while self.shared.metrics.payments_in_flight() > 0
            && until.is_some_and(|until| Instant::now() < until)
        {
            sleep(LOOK_EVERY).await;
        }
        let left = self.shared.metrics.payments_in_flight();
        if left > 0 {
            log::warn!(
                "grace_s is over, and {left} payments still run: what became of them is asked after the \
                 next start"
            );
        }
        sleep(LAST_ANSWERS).await;
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ))
}
