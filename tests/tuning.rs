//! `tuning/strowger-tune` against a pretended host: a tree in place of /proc and /sys, an `ethtool` of our own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SYSCTLS: &[(&str, &str)] = &[
    ("net/core/rmem_max", "212992"),
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/ip_local_reserved_ports", ""),
    ("vm/swappiness", "60"),
];

/// Keeps its values in files: `ring-RX`, `channels`, `adaptive-rx`, `rx-usecs`, `udp4`.
const ETHTOOL: &str = r#"#!/bin/sh
cd "$STROWGER_TUNE_ROOT/nic" || exit 1
case $1 in
  -g) printf 'Ring parameters for %s:\nPre-set maximums:\nRX:\t\t4096\nTX:\t\tn/a\nCurrent hardware settings:\nRX:\t\t%s\nTX:\t\tn/a\n' "$2" "$(cat ring-RX)" ;;
  -G) [ "$3" = rx ] && echo "$4" > ring-RX ;;
  -l) printf 'Channel parameters for %s:\nPre-set maximums:\nCombined:\t8\nCurrent hardware settings:\nCombined:\t%s\n' "$2" "$(cat channels)" ;;
  -L) echo "$4" > channels ;;
  -c) printf 'Coalesce parameters for %s:\nAdaptive RX: %s  TX: off\nrx-usecs: %s\n' "$2" "$(cat adaptive-rx)" "$(cat rx-usecs)" ;;
  -C) echo "$4" > "$3" ;;
  -n) [ "$4" = udp4 ] || exit 1
      echo 'UDP over IPV4 flows use these fields for computing Hash flow key:'
      case $(cat udp4) in sd) printf 'IP SA\nIP DA\n' ;; *) printf 'IP SA\nIP DA\nL4 bytes 0 & 1 [TCP/UDP src port]\nL4 bytes 2 & 3 [TCP/UDP dst port]\n' ;; esac ;;
  -N) echo "$5" > udp4 ;;
esac
"#;

struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { root: tempfile::tempdir().unwrap() };
        for (name, value) in SYSCTLS {
            host.put(&format!("proc/sys/{name}"), value);
        }
        host.put("sys/devices/system/cpu/online", "0-1");
        for core in 0..2 {
            let cpu = format!("sys/devices/system/cpu/cpu{core}");
            host.put(&format!("{cpu}/cpufreq/scaling_governor"), "powersave");
            for (state, latency) in [(0, "0"), (1, "2"), (2, "133")] {
                host.put(&format!("{cpu}/cpuidle/state{state}/latency"), latency);
                host.put(&format!("{cpu}/cpuidle/state{state}/disable"), "0");
            }
        }
        host.put("sys/class/net/eth0/device/msi_irqs/41", "msix");
        host.put("sys/class/net/lo/address", "none");
        host.put("proc/irq/41/smp_affinity_list", "0-1");
        for queue in 0..2 {
            host.put(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "00");
            host.put(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "03");
        }
        for (name, value) in
            [("ring-RX", "256"), ("channels", "1"), ("adaptive-rx", "on"), ("rx-usecs", "3"), ("udp4", "sd")]
        {
            host.put(&format!("nic/{name}"), value);
        }
        host.put("bin/ethtool", ETHTOOL);
        fs::set_permissions(host.path("bin/ethtool"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(host.path("run")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn put(&self, name: &str, value: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    fn run(&self, words: &[&str]) -> (Output, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/strowger-tune");
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let output =
            Command::new(script).args(words).env("STROWGER_TUNE_ROOT", self.root.path()).env("PATH", path).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output, text)
    }

    /// Every value of the tree.
    fn values(&self) -> BTreeMap<PathBuf, String> {
        let (mut out, mut waiting) = (BTreeMap::new(), vec![self.root.path().to_owned()]);
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                } else {
                    out.insert(entry.path(), fs::read_to_string(entry.path()).unwrap().trim().to_owned());
                }
            }
        }
        out
    }
}

#[test]
fn show_changes_nothing_and_says_why() {
    let host = Host::new();
    let before = host.values();
    let (output, text) = host.run(&["show"]);
    assert!(output.status.success(), "{text}");
    assert_eq!(host.values(), before);
    assert!(text.contains("change sysctl     net.core.rmem_max: 212992 -> 16777216"), "{text}");
    assert!(text.contains("ok     sysctl     net.core.somaxconn = 65535"), "more than is wanted is left alone: {text}");
    assert!(!text.contains("nf_conntrack"), "what this host lacks is not spoken of: {text}");
    let rows = text.lines().filter(|line| line.starts_with("change ") || line.starts_with("ok ")).count();
    let reasons = text.lines().filter(|line| line.starts_with("       ")).count();
    assert_eq!(rows, reasons, "each line says why: {text}");
}

#[test]
fn apply_sets_and_undo_brings_back() {
    let host = Host::new();
    let before = host.values();
    let (output, text) = host.run(&["apply", "--media-ports", "20000-29999"]);
    assert!(output.status.success(), "{text}");
    for (name, value) in [
        ("proc/sys/net/core/rmem_max", "16777216"),
        ("proc/sys/net/core/somaxconn", "65535"),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", "20000-29999"),
        ("nic/ring-RX", "4096"),
        ("nic/channels", "2"),
        ("nic/adaptive-rx", "off"),
        ("nic/rx-usecs", "50"),
        ("nic/udp4", "sdfn"),
        ("proc/irq/41/smp_affinity_list", "0"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "00000001"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "00000002"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
        ("sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0"),
        ("sys/devices/system/cpu/cpu1/cpuidle/state2/disable", "1"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
    ] {
        assert_eq!(host.get(name), value, "{name}\n{text}");
    }
    let (_, again) = host.run(&["show", "--media-ports", "20000-29999"]);
    assert!(again.contains("\n0 would change"), "{again}");
    // What was is remembered from the first time only.
    host.put("nic/ring-RX", "1024");
    assert!(host.run(&["apply", "--media-ports", "20000-29999"]).0.status.success());
    let (output, text) = host.run(&["undo"]);
    assert!(output.status.success(), "{text}");
    assert_eq!(host.values(), before, "{text}");
    assert!(host.run(&["undo"]).1.contains("nothing to undo"));
}

/// Ports that the administrator has reserved stay so, and are all that is left.
#[test]
fn reserved_ports_are_added_to() {
    const NAME: &str = "proc/sys/net/ipv4/ip_local_reserved_ports";
    let host = Host::new();
    host.put(NAME, "8080,9148");
    for _ in 0..2 {
        let (output, text) = host.run(&["apply", "--only", "sysctl", "--media-ports", "20000-29999"]);
        assert!(output.status.success(), "{text}");
        assert_eq!(host.get(NAME), "8080,9148,20000-29999");
    }
    assert!(host.run(&["undo"]).0.status.success());
    assert_eq!(host.get(NAME), "8080,9148");
}

#[test]
fn only_some_kinds_and_cores_and_bad_usage() {
    let host = Host::new();
    let (_, text) = host.run(&["show", "--only", "governor,cstate", "--cores", "1", "--latency-us", "1"]);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("change ")).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows.iter().all(|row| row.contains("cpu1")), "{text}");
    for words in [&["tune"][..], &["show", "--cores", "x"], &["show", "--wat", "1"], &["show", "--only"]] {
        assert_eq!(host.run(words).0.status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn what_cannot_be_set_is_said_and_the_rest_is_set() {
    let host = Host::new();
    fs::remove_file(host.path("proc/sys/vm/swappiness")).unwrap();
    std::os::unix::fs::symlink("/proc/version", host.path("proc/sys/vm/swappiness")).unwrap();
    let (output, text) = host.run(&["apply", "--only", "sysctl"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAILED sysctl     vm.swappiness"), "{text}");
    assert_eq!(host.get("proc/sys/net/core/rmem_max"), "16777216");
}
