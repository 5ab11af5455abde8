"""Host: does the machine have spare CPU, memory, disk and network?"""

from grafana import BLUE, FIRING, GREEN, NOW, ORANGE, PACKETS, PAGES, RED, YELLOW
from grafana import annotation, dashboard, firing_alerts, graph, of_host, row, stat

HOST = 'job="node", instance="$instance"'
# File systems in memory and read-only ones do not fill up.
FILLS_UP = 'fstype!~"tmpfs|ramfs|squashfs|iso9660|erofs|udf|fuse[.](snapfuse|squashfuse.*)"'
DISKS = f"{HOST}, {FILLS_UP}"
BLOCK_DEVICES = f'{HOST}, device!~"loop.*|ram.*|sr.*"'
# As in etc/alloy/config.alloy, which explains it; here for samples of other exporters.
NOT_REAL = (
    "lo|(ifb|dummy|sit|tunl|ip6tnl|veth|docker|podman|lxc|lxd|incus|cni|flannel|cali|cilium|kube|virbr|vnet).*"
    "|br-[0-9a-f]{12}"
)
NETWORK = f'{HOST}, device!~"{NOT_REAL}"'

ALERTS = of_host("ALERTS", f'{FIRING}, alertname=~"Host.*"')

USED_SPACE = f"1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}"
# Between 0 and the size, and only after an hour of samples. `+ 0` drops the metric's name, so that
# a prediction at its limit stays the same line.
FREE_IN_24_H = (
    f"(clamp_min(predict_linear(node_filesystem_avail_bytes{{{DISKS}}}[6h], 86400), 0)"
    f" < node_filesystem_size_bytes{{{DISKS}}} or node_filesystem_size_bytes{{{DISKS}}} + 0)"
    f" and node_filesystem_avail_bytes{{{DISKS}}} offset 1h"
)
USED_MEMORY = f"1 - node_memory_MemAvailable_bytes{{{HOST}}} / node_memory_MemTotal_bytes{{{HOST}}}"
IDLE = f'{HOST}, mode="idle"'
BUSY = f'{HOST}, mode!="idle"'
CORES = f"count(node_cpu_seconds_total{{{IDLE}}})"


def rate(metric, selector=HOST, window="$__rate_interval"):
    return f"rate({metric}{{{selector}}}[{window}])"


# Prometheus adds a notice to the panel if the name of a counter does not end in _total. A sum has
# no name.
def nameless_rate(metric):
    return f"rate(({metric}{{{HOST}}} + 0)[$__rate_interval:15s])"


def memory(name):
    return f"node_memory_{name}_bytes{{{HOST}}}"


DASHBOARD = dashboard(
    uid="metrics-host",
    title="Host",
    description="Does the machine have spare CPU, memory, disk and network, and what runs out first?",
    up='up{job="node"}',
    annotations=[
        annotation(
            "Restarts",
            f"time() - node_boot_time_seconds{{{HOST}}} < 60",
            "The host was booted",
            BLUE,
        ),
        annotation("Alerts", ALERTS, "{{alertname}}", RED),
    ],
    panels=[
        stat(
            "CPU used",
            "Is it busy? The share of all cores that was not idle over five minutes.",
            "percentunit",
            f"1 - avg({rate('node_cpu_seconds_total', IDLE, NOW)})",
            thresholds=[(None, GREEN), (0.8, YELLOW), (0.95, RED)],
            decimals=0,
        ),
        stat(
            "Load per core",
            "Do tasks queue for the CPU or a disk? The load over five minutes, divided by the "
            "cores; above 1, some tasks wait.",
            "short",
            f"sum(node_load5{{{HOST}}}) / {CORES}",
            thresholds=[(None, GREEN), (1, YELLOW), (2, RED)],
            decimals=2,
        ),
        stat(
            "Memory used",
            "How much memory is in use? Caches that the kernel can free count as unused.",
            "percentunit",
            f"max({USED_MEMORY})",
            thresholds=[(None, GREEN), (0.8, YELLOW), (0.9, RED)],
            decimals=0,
        ),
        stat(
            "Fullest disk",
            "How full is the file system with the least free space?",
            "percentunit",
            f"max({USED_SPACE})",
            thresholds=[(None, GREEN), (0.8, YELLOW), (0.95, RED)],
            decimals=0,
        ),
        stat(
            "OOM kills",
            "Has the kernel killed a process for lack of memory since the host booted? The host "
            "or a unit was at its limit.",
            "short",
            f"sum(node_vmstat_oom_kill{{{HOST}}})",
            thresholds=[(None, GREEN), (1, ORANGE)],
        ),
        stat(
            "Uptime",
            "How long has the host been running?",
            "s",
            f"time() - max(node_boot_time_seconds{{{HOST}}})",
        ),
        firing_alerts(
            "Firing host alerts",
            "What is wrong with the host right now? Each alert's description says what to do. A "
            "host lists its own alerts at http://127.0.0.1:9090/alerts; turn on annotations in the "
            "settings there.",
            ALERTS,
        ),
        row("CPU and memory"),
        graph(
            "CPU",
            "What uses the CPU? All cores together are 100%; steal is time that the hypervisor "
            "gave to other machines.",
            "percentunit",
            {"{{mode}}": f"avg by (mode) ({rate('node_cpu_seconds_total', BUSY)})"},
            stack=True,
            max=1,
        ),
        graph(
            "Load",
            "Do tasks queue? Tasks that run or wait, over one, five and fifteen minutes, next to "
            "the number of cores.",
            "short",
            {
                "1 min": f"node_load1{{{HOST}}}",
                "5 min": f"node_load5{{{HOST}}}",
                "15 min": f"node_load15{{{HOST}}}",
                "cores": CORES,
            },
            colors={"^cores$": RED},
        ),
        graph(
            "Memory",
            "What uses the memory? The kernel frees caches when programs need memory; used "
            "memory it can't free.",
            "bytes",
            {
                "used": f"{memory('MemTotal')} - {memory('MemFree')} - {memory('Buffers')}"
                f" - {memory('Cached')} - {memory('SReclaimable')}",
                "caches": f"{memory('Buffers')} + {memory('Cached')} + {memory('SReclaimable')}",
                "free": memory("MemFree"),
            },
            stack=True,
            colors={"^used$": ORANGE, "^caches$": BLUE, "^free$": GREEN},
        ),
        graph(
            "Paging",
            "Does the host read programs and data back from disk for lack of memory? Pages "
            "swapped, and page faults that waited for the disk; bursts when a program starts are "
            "normal.",
            PAGES,
            {
                "major faults": nameless_rate("node_vmstat_pgmajfault"),
                "pages swapped in": nameless_rate("node_vmstat_pswpin"),
                "pages swapped out": nameless_rate("node_vmstat_pswpout"),
            },
        ),
        graph(
            "Pressure (some)",
            "How long do tasks wait for a resource? The share of time in which at least one task "
            "waited for CPU, disk or memory. No data: the kernel was booted without PSI, as on RHEL; "
            "add psi=1 to its command line.",
            "percentunit",
            {
                "CPU": rate("node_pressure_cpu_waiting_seconds_total"),
                "disk": rate("node_pressure_io_waiting_seconds_total"),
                "memory": rate("node_pressure_memory_waiting_seconds_total"),
            },
        ),
        graph(
            "Pressure (full)",
            "How long is all work stalled? The share of time in which every task waited for disk "
            "or memory. No data: see the panel before.",
            "percentunit",
            {
                "disk": rate("node_pressure_io_stalled_seconds_total"),
                "memory": rate("node_pressure_memory_stalled_seconds_total"),
            },
        ),
        row("Disks"),
        graph(
            "Space used",
            "Which file system is filling up?",
            "percentunit",
            {"{{mountpoint}}": USED_SPACE},
            max=1,
            limits=[(0.95, RED)],
        ),
        graph(
            "Free space in 24 h",
            "How much space will be left tomorrow? The trend of the last six hours continued for "
            "a day; at 0 the disk is full. A new host has no line for an hour.",
            "bytes",
            {"{{mountpoint}}": FREE_IN_24_H},
        ),
        graph(
            "Disk throughput",
            "How much is read and written?",
            "Bps",
            {
                "{{device}} read": rate("node_disk_read_bytes_total", BLOCK_DEVICES),
                "{{device}} written": rate("node_disk_written_bytes_total", BLOCK_DEVICES),
            },
            width=8,
        ),
        graph(
            "Disk busy",
            "Is a disk the bottleneck? The share of time in which it had requests to process; "
            "pressure shows whether tasks waited.",
            "percentunit",
            {"{{device}}": rate("node_disk_io_time_seconds_total", BLOCK_DEVICES)},
            max=1,
            width=8,
        ),
        graph(
            "Inodes used",
            "Which file system runs out of inodes? Many small files can use them up while there "
            "is space.",
            "percentunit",
            {
                "{{mountpoint}}": f"1 - node_filesystem_files_free{{{DISKS}}} / (node_filesystem_files{{{DISKS}}} > 0)"
            },
            max=1,
            width=8,
        ),
        row("Network"),
        graph(
            "Traffic",
            "How much is received and sent? Only real interfaces, without loopback and those of "
            "containers.",
            "Bps",
            {
                "{{device}} in": rate("node_network_receive_bytes_total", NETWORK),
                "{{device}} out": rate("node_network_transmit_bytes_total", NETWORK),
            },
            width=8,
        ),
        graph(
            "Errors and drops",
            "Does the network lose packets? Investigate anything that stays above 0.",
            PACKETS,
            {
                f"{{{{device}}}} {way}": f"{rate(f'node_network_{metric}_errs_total', NETWORK)}"
                f" + {rate(f'node_network_{metric}_drop_total', NETWORK)}"
                for way, metric in (("in", "receive"), ("out", "transmit"))
            },
            width=8,
        ),
        graph(
            "TCP connections",
            "How many connections are open, and do they pile up?",
            "short",
            {
                "established": f"node_netstat_Tcp_CurrEstab{{{HOST}}}",
                "time wait": f"node_sockstat_TCP_tw{{{HOST}}}",
            },
            width=8,
        ),
    ],
)
