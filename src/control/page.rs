//! A page of metrics being written: counters, gauges and families, by name.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::observe::Counters;

pub(super) type Labels<'l> = Vec<(&'static str, &'l str)>;

/// One page being written.
pub(super) struct Page<'e, 's> {
    pub(super) encoder: DescriptorEncoder<'e>,
    pub(super) shards: &'s [Arc<Counters>],
}

impl Page<'_, '_> {
    pub(super) fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|counters| read(counters)).sum()
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, values: &[(Labels<'_>, u64)]) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut family = metric.encode_family(labels)?;
            family.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
        Ok(())
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    pub(super) fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: Vec<(&str, u64)>,
    ) -> fmt::Result {
        let values: Vec<_> = values.into_iter().map(|(text, value)| (vec![(label, text)], value)).collect();
        self.counters(name, help, &values)
    }

    pub(super) fn levels(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: Vec<(&str, f64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (text, value) in values {
            metric.encode_family(&vec![(label, text)])?.encode_gauge(&value)?;
        }
        Ok(())
    }
}
