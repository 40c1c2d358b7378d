//! `/metrics`: the shards' cells added up, in the OpenMetrics text format. Never numbers, Call-IDs or addresses as labels.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::page::Page;
use super::state::State;
use crate::observe::counters::{CLASSES, TRANSPORTS};
use crate::observe::histogram::BOUNDS_MICROS;
use crate::observe::{
    CallResult, Counter, Direction, DropReason, FastPathPass, Gauge, LimitReason, MediaPath, MethodLabel, Suspicion,
};

/// What the encoder writes; Prometheus, and every browser, take it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads the cells at each scrape.
struct Cells(Arc<State>);

impl fmt::Debug for Cells {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Cells")
    }
}

/// The registry with everything there is.
#[must_use]
pub fn registry(state: Arc<State>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Cells(state)));
    registry
}

/// The page.
#[must_use]
pub fn page(registry: &Registry) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let _ = text::encode(&mut out, registry);
    out
}

impl Page<'_, '_> {
    fn sip(&mut self) -> fmt::Result {
        let mut requests = Vec::new();
        for &method in MethodLabel::ALL {
            for transport in TRANSPORTS {
                for &direction in Direction::ALL {
                    let count = self.sum(|counters| counters.requests(method, transport, direction));
                    if count > 0 {
                        let labels = vec![
                            ("method", method.as_str()),
                            ("transport", transport.uri_token()),
                            ("direction", direction.as_str()),
                        ];
                        requests.push((labels, count));
                    }
                }
            }
        }
        self.counters("strowger_sip_requests", "SIP requests, retransmissions included", &requests)?;
        let classes = CLASSES.iter().enumerate();
        let responses =
            classes.map(|(index, &class)| (class, self.sum(|counters| counters.responses(index + 1)))).collect();
        self.labelled("strowger_sip_responses", "SIP responses sent", "class", responses)?;
        self.setup()
    }

    fn setup(&mut self) -> fmt::Result {
        let mut buckets = [0; BOUNDS_MICROS.len() + 1];
        let mut sum = 0;
        for counters in self.shards {
            let (shard, nanos) = counters.setup_times().read();
            buckets.iter_mut().zip(shard).for_each(|(total, count)| *total += count);
            sum += nanos;
        }
        let bounds = BOUNDS_MICROS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(buckets).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let help = "From INVITE to the first response other than 100";
        let name = "strowger_sip_setup_duration_seconds";
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum as f64 / 1e9, count, &buckets, None)
    }

    fn calls(&mut self) -> fmt::Result {
        let results = CallResult::ALL.iter().map(|&result| (result.as_str(), self.sum(|cells| cells.calls(result))));
        let results = results.collect();
        self.labelled("strowger_calls", "Calls that ended or were refused", "result", results)?;
        let limits = LimitReason::ALL.iter().map(|&reason| (reason.as_str(), self.sum(|cells| cells.limits(reason))));
        let limits = limits.collect();
        self.labelled("strowger_limit_rejections", "Calls refused by a limit", "reason", limits)
    }

    fn media(&mut self) -> fmt::Result {
        let of = |path| self.shards.iter().map(|cells| cells.relayed(path)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let totals: Vec<_> = MediaPath::ALL.iter().map(|&path| (path.as_str(), of(path))).collect();
        let packets = totals.iter().map(|(path, (packets, _))| (*path, *packets)).collect();
        let bytes = totals.iter().map(|(path, (_, bytes))| (*path, *bytes)).collect();
        self.labelled("strowger_rtp_packets", "RTP and RTCP packets relayed", "path", packets)?;
        self.labelled("strowger_rtp_bytes", "Bytes of them", "path", bytes)?;
        let drops = DropReason::ALL.iter().map(|&reason| (reason.as_str(), self.sum(|cells| cells.drops(reason))));
        let drops = drops.collect();
        let passes = FastPathPass::ALL.iter().map(|&reason| (reason.as_str(), self.sum(|cells| cells.passes(reason))));
        let passes = passes.collect();
        let help = "Packets for media ports that the fast path handed up to their sockets";
        self.labelled("strowger_fast_path_passed", help, "reason", passes)?;
        self.labelled("strowger_drops", "Datagrams, messages, events and records thrown away", "reason", drops)
    }

    fn suspicions(&mut self) -> fmt::Result {
        let of = |reason: Suspicion| (reason.as_str(), self.sum(|cells| cells.suspicions(reason)));
        let counts = Suspicion::ALL.iter().map(|&reason| of(reason)).collect();
        self.labelled(
            "strowger_scan_evidence",
            "Requests of unknown sources that speak for a scanner",
            "reason",
            counts,
        )
    }

    fn plain(&mut self) -> fmt::Result {
        for &gauge in Gauge::ALL {
            let value = self.sum(|counters| counters.level(gauge));
            self.gauge(&format!("strowger_{}", gauge.as_str()), gauge.help(), value)?;
        }
        for &counter in Counter::ALL {
            let value = self.sum(|counters| counters.get(counter));
            if counter == Counter::LoopBusyNanos {
                self.seconds("strowger_loop_busy_seconds", "Time the shards' loops were busy", value as f64 / 1e9)?;
                continue;
            }
            self.counter(&format!("strowger_{}", counter.as_str()), counter.help(), value)?;
        }
        Ok(())
    }

    fn node(&mut self, state: &State) -> fmt::Result {
        let (records, totals) = (&state.records, state.totals());
        self.counter("strowger_records_written", "Call records on disk", totals.records_written)?;
        self.counter("strowger_records_lost", "Call records lost with a full spool", totals.records_lost)?;
        self.gauge("strowger_records_spooled", "Call records waiting in memory", records.spooled.load(Relaxed))?;
        let failing = u64::from(records.failing().is_some());
        self.gauge("strowger_records_failing", "1 while the disk refuses call records", failing)?;
        self.counter("strowger_log_lines_lost", "Lines that standard error refused", totals.log_lines_lost)?;
        self.gauge("strowger_shards", "Shards of this node", state.counters.len() as u64)?;
        self.gauge("strowger_ready", "1 while /readyz says so", u64::from(state.unready().is_empty()))?;
        super::links::metrics::write(self, state.limits.links.as_ref(), state.clock.now())?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("backend", state.backend.as_str()),
            ("fast_path", state.fast_path.as_str()),
        ];
        let mut info = self.encoder.encode_descriptor("strowger_build", "This program", None, MetricType::Info)?;
        info.encode_info(&labels)
    }
}

impl Collector for Cells {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder, shards: &self.0.counters };
        page.sip()?;
        page.calls()?;
        page.media()?;
        page.suspicions()?;
        page.plain()?;
        page.node(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::state;
    use super::*;
    use crate::base::Transport;
    use std::time::Duration;

    #[test]
    fn the_names_are_those_of_the_interface() {
        let (state, _) = state();
        let cells = &state.counters;
        cells[0].request(MethodLabel::Invite, Transport::Udp, Direction::In);
        cells[1].request(MethodLabel::Invite, Transport::Udp, Direction::In);
        cells[1].response(486);
        cells[0].set(Gauge::CallsActive, 2);
        cells[1].set(Gauge::CallsActive, 3);
        cells[0].setup(Duration::from_millis(3));
        cells[0].call(CallResult::Busy);
        cells[0].media(MediaPath::Epoll, 172);
        cells[0].count_drop(DropReason::MediaStray);
        cells[0].media_many(MediaPath::Xdp, 50, 8_600);
        cells[0].count_passes(FastPathPass::NoHop, 3);
        cells[1].suspicion(Suspicion::WrongDigest);
        let page = page(&registry(state));
        for line in [
            "strowger_sip_requests_total{method=\"INVITE\",transport=\"udp\",direction=\"in\"} 2",
            "strowger_sip_responses_total{class=\"4xx\"} 1",
            "strowger_sip_setup_duration_seconds_bucket{le=\"0.005\"} 1",
            "strowger_sip_setup_duration_seconds_bucket{le=\"0.002\"} 0",
            "strowger_sip_setup_duration_seconds_bucket{le=\"+Inf\"} 1",
            "strowger_sip_setup_duration_seconds_count 1",
            "strowger_calls_active 5",
            "strowger_calls_total{result=\"busy\"} 1",
            "strowger_limit_rejections_total{reason=\"account\"} 0",
            "strowger_rtp_packets_total{path=\"epoll\"} 1",
            "strowger_rtp_bytes_total{path=\"epoll\"} 172",
            "strowger_rtp_packets_total{path=\"xdp\"} 50",
            "strowger_rtp_bytes_total{path=\"xdp\"} 8600",
            "strowger_fast_path_passed_total{reason=\"no_hop\"} 3",
            "strowger_drops_total{reason=\"media_stray\"} 1",
            "strowger_scan_evidence_total{reason=\"wrong_digest\"} 1",
            "# TYPE strowger_link_lag_seconds gauge",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(page.contains("strowger_build_info{version=\"") && page.ends_with("# EOF\n"));
    }
}
