//! CPU per redirect: user + system time of the whole server process over answered requests, at saturation.
//!
//! Servers take turns (A B C D A B C D …), each pinned to core 0, the load generator (wrk) to core 1: keep-alive, 32
//! connections, a browser's headers, links drawn at random. Beside Fingerpost run the floor (epoll in C, canned answer) and
//! nginx with a `map` of the same links, a cookie and a buffered access log. Fingerpost's time is counted until its journal
//! is drained. Medians over the rounds; what counts is the ratio to nginx inside one run.

use crate::{
    clicks,
    common::{self, Random, Size},
    server::{self, Options, Server},
};
use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

const CONNECTIONS: u32 = 32;
const PARTNERS: u64 = 1_000;
/// Ticks of `/proc/PID/stat` a second (`USER_HZ`, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

struct Plan {
    links: u64,
    rounds: usize,
    seconds: u64,
}

/// User and system microseconds for one request.
#[derive(Clone, Copy, Debug)]
struct Cost {
    user: f64,
    system: f64,
    per_second: f64,
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let seed = arguments.seed();
    let plan = match arguments.size {
        Size::Ci => Plan { links: 10_000, rounds: 2, seconds: 2 },
        Size::Full => Plan { links: 100_000, rounds: 7, seconds: 8 },
    };
    for tool in ["wrk", "nginx", "cc", "taskset"] {
        if !common::on_path(tool) {
            println!("cpu-per-redirect needs `{tool}`: on Debian, apt-get install wrk nginx-light gcc util-linux");
            return ExitCode::FAILURE;
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = write_wrk_script(folder.path(), &plan, seed);
    let floor = build_floor(folder.path());
    let nginx = write_nginx(folder.path(), &plan);
    let (stored, journal_only) = (folder.path().join("stored"), folder.path().join("journal"));
    for data in [&stored, &journal_only] {
        fill_catalog(data, &plan);
    }
    // A folder where the event database should be: the sink is away, the journal keeps everything.
    std::fs::create_dir_all(journal_only.join("events.db")).expect("a folder");
    let names = ["floor", "nginx", "fingerpost, journal only", "fingerpost, SQLite"];
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); names.len()];
    for round in 0..plan.rounds {
        costs[0].push(run_peer(&script, &plan, 1, |port| {
            Command::new("taskset").args(["-c", "0"]).arg(&floor).arg(port.to_string()).spawn()
        }));
        costs[1].push(run_peer(&script, &plan, 2, |port| {
            let conf = std::fs::read_to_string(&nginx).expect("nginx.conf").replace("PORT", &port.to_string());
            let this = nginx.with_file_name("nginx-run.conf");
            std::fs::write(&this, conf).expect("nginx-run.conf");
            Command::new("taskset").args(["-c", "0", "nginx", "-p"]).arg(folder.path()).arg("-c").arg(&this).spawn()
        }));
        costs[2].push(run_fingerpost(&script, &plan, &journal_only, false));
        costs[3].push(run_fingerpost(&script, &plan, &stored, true));
        println!("round {}: {}", round + 1, line(&names, &costs, round));
    }
    report(&arguments, &plan, &names, &costs)
}

fn line(names: &[&str], costs: &[Vec<Cost>], round: usize) -> String {
    names.iter().zip(costs).fold(String::new(), |mut text, (name, costs)| {
        let Cost { user, system, per_second } = costs[round];
        let _ = write!(text, "{name} {user:.2}+{system:.2}={:.2} µs ({per_second:.0}/s)  ", user + system);
        text
    })
}

fn report(arguments: &common::Arguments, plan: &Plan, names: &[&str], costs: &[Vec<Cost>]) -> ExitCode {
    let median = |of: &dyn Fn(&Cost) -> f64, costs: &[Cost]| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let total = |cost: &Cost| cost.user + cost.system;
    let nginx = median(&total, &costs[1]);
    println!(
        "\n{:<28}{:>8}{:>8}{:>8}{:>10}{:>12}",
        "µs for one redirect", "user", "system", "total", "÷ nginx", "redirects/s"
    );
    let mut rows = Vec::new();
    for (name, costs) in names.iter().zip(costs) {
        let (user, system, all) = (median(&|c| c.user, costs), median(&|c| c.system, costs), median(&total, costs));
        let rate = median(&|c| c.per_second, costs);
        println!("{name:<28}{user:>8.2}{system:>8.2}{all:>8.2}{:>10.2}{rate:>12.0}", all / nginx);
        rows.push(serde_json::json!({
            "server": name, "user_us": round2(user), "system_us": round2(system), "total_us": round2(all),
            "ratio_to_nginx": round2(all / nginx), "per_second": rate.round(),
        }));
    }
    // The claim here is that the figures are whole; what they should be is a goal, told beside them.
    let ok = costs.iter().flatten().all(|cost| cost.user + cost.system > 0.0 && cost.per_second > 0.0);
    common::report(
        "cpu-per-redirect",
        arguments.size,
        ok,
        serde_json::json!({
            "links": plan.links, "rounds": plan.rounds, "seconds_each": plan.seconds, "connections": CONNECTIONS, "servers": rows,
            "goals": { "journal_only_ratio": 0.9, "sqlite_ratio": 1.25 },
        }),
    )
}

fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn link(n: u64) -> String {
    format!("l{n:07}")
}

fn partner(n: u64) -> String {
    format!("p{:07}", n % PARTNERS)
}

fn address(n: u64) -> String {
    format!("https://shop.example/collections/spring/products/item-{n:07}")
}

/// Requests as they go over the wire, drawn at random beforehand, so that the generator does nothing but send.
fn write_wrk_script(folder: &Path, plan: &Plan, seed: u64) -> PathBuf {
    let mut random = Random::new(seed);
    let drawn = 20_000.min(plan.links);
    let mut paths = String::new();
    for _ in 0..drawn {
        let n = random.below(plan.links);
        let _ = writeln!(paths, "/go/{}/{}", link(n), partner(n));
    }
    std::fs::write(folder.join("paths.txt"), paths).expect("paths.txt");
    let script = folder.join("load.lua");
    let text = format!(
        r#"local requests, headers = {{}}, {{
  ["Host"] = "r.shop.example",
  ["Connection"] = "keep-alive",
  ["sec-ch-ua"] = '"Chromium";v="150", "Google Chrome";v="150", "Not;A=Brand";v="99"',
  ["sec-ch-ua-mobile"] = "?0",
  ["sec-ch-ua-platform"] = '"Windows"',
  ["Upgrade-Insecure-Requests"] = "1",
  ["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
  ["Sec-Fetch-Site"] = "cross-site",
  ["Sec-Fetch-Mode"] = "navigate",
  ["Sec-Fetch-User"] = "?1",
  ["Sec-Fetch-Dest"] = "document",
  ["Referer"] = "https://www.instagram.com/",
  ["Accept-Encoding"] = "gzip, deflate, br, zstd",
  ["Accept-Language"] = "en-US,en;q=0.9,de;q=0.8",
}}
function init(args)
  for path in io.lines("{}") do requests[#requests + 1] = wrk.format("GET", path, headers) end
end
local at = 0
function request()
  at = at % #requests + 1
  return requests[at]
end
"#,
        folder.join("paths.txt").display()
    );
    std::fs::write(&script, text).expect("load.lua");
    script
}

fn build_floor(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("load-tests/peers/floor.c");
    let floor = folder.join("floor");
    let status = Command::new("cc").args(["-O2", "-o"]).arg(&floor).arg(source).status().expect("cc");
    assert!(status.success(), "cc failed");
    floor
}

/// One worker, as a user would write it: the links in a `map`, a cookie of a random id, an access log with a buffer.
fn write_nginx(folder: &Path, plan: &Plan) -> PathBuf {
    let mut map = String::new();
    for n in 0..plan.links {
        let _ = writeln!(map, "/go/{}/{} {};", link(n), partner(n), address(n));
    }
    std::fs::write(folder.join("links.map"), map).expect("links.map");
    std::fs::create_dir_all(folder.join("nginx")).expect("a folder");
    let conf = folder.join("nginx.conf");
    let folder = folder.display();
    let text = format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/nginx/nginx.pid;
error_log {folder}/nginx/error.log;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/nginx; proxy_temp_path {folder}/nginx; fastcgi_temp_path {folder}/nginx;
  uwsgi_temp_path {folder}/nginx; scgi_temp_path {folder}/nginx;
  map_hash_max_size 1048576; map_hash_bucket_size 128;
  map $uri $destination {{ default ""; include {folder}/links.map; }}
  log_format clicks '$msec $remote_addr $request_uri $status "$http_referer" "$http_user_agent" "$http_cookie" $request_id';
  access_log {folder}/nginx/access.log clicks buffer=64k flush=1s;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:PORT reuseport;
    location / {{
      if ($destination = "") {{ return 404; }}
      add_header Set-Cookie "fp=$request_id; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax" always;
      add_header Cache-Control no-store always;
      return 302 "$destination?fpc=$request_id";
    }}
  }}
}}
"#
    );
    std::fs::write(&conf, text).expect("nginx.conf");
    conf
}

fn fill_catalog(data: &Path, plan: &Plan) {
    std::fs::create_dir_all(data).expect("a data folder");
    let mut partners = "code,name\n".to_owned();
    for n in 0..PARTNERS {
        let _ = writeln!(partners, "{},Partner {n}", partner(n));
    }
    let mut links = "code,name,address\n".to_owned();
    for n in 0..plan.links {
        let _ = writeln!(links, "{},Item {n},{}", link(n), address(n));
    }
    for (kind, text) in [("partners", partners), ("links", links)] {
        let file = data.join(format!("{kind}.csv"));
        std::fs::write(&file, text).expect("a CSV file");
        let output = server::command(data, &["import", kind, &file.display().to_string()]).output().expect("import");
        assert!(output.status.success(), "import {kind}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Runs a peer with `processes` processes (nginx: master and worker).
fn run_peer(script: &Path, plan: &Plan, processes: usize, start: impl Fn(u16) -> std::io::Result<Child>) -> Cost {
    let port = free_port();
    let mut child = start(port).expect("a peer that starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + server::PATIENCE;
    let pids = loop {
        let mut pids = vec![child.id()];
        pids.extend(children(child.id()));
        // nginx listens before its worker is there.
        if pids.len() == processes && TcpStream::connect(address).is_ok() {
            break pids;
        }
        assert!(Instant::now() < deadline, "the peer does not listen, or has {} processes", pids.len());
        common::wait(Duration::from_millis(20));
    };
    let before = ticks(&pids);
    let (requests, seconds) = wrk(script, address, plan.seconds);
    let after = ticks(&pids);
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
    cost(before, after, requests, seconds)
}

fn run_fingerpost(script: &Path, plan: &Plan, data: &Path, stored: bool) -> Cost {
    let mut options = Options::default().set("edge.workers", "1").set("log.level", "error,fingerpost::app=info");
    options.under = ["taskset", "-c", "0"].map(str::to_owned).to_vec();
    let server = Server::start(data, &options).expect("fingerpost");
    let pids = [server.pid()];
    if stored {
        clicks::wait_drained(&server);
    }
    let before = ticks(&pids);
    let (requests, seconds) = wrk(script, server.edge, plan.seconds);
    if stored {
        clicks::wait_drained(&server);
    }
    let after = ticks(&pids);
    assert!(server.stop().success());
    if !stored {
        let _ = std::fs::remove_dir_all(data.join("journal"));
    }
    cost(before, after, requests, seconds)
}

fn cost(before: (u64, u64), after: (u64, u64), requests: u64, seconds: f64) -> Cost {
    let micros = |ticks: u64| ticks as f64 / TICKS_PER_SECOND * 1e6 / requests as f64;
    Cost { user: micros(after.0 - before.0), system: micros(after.1 - before.1), per_second: requests as f64 / seconds }
}

/// User and system ticks of these processes, all threads.
fn ticks(pids: &[u32]) -> (u64, u64) {
    pids.iter().fold((0, 0), |(user, system), pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
        // The command's name stands in brackets and may hold anything; utime and stime are fields 14 and 15.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields[at - 3].parse::<u64>().expect("a number");
        (user + field(14), system + field(15))
    })
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Answered requests, and seconds.
fn wrk(script: &Path, address: SocketAddr, seconds: u64) -> (u64, f64) {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "-s"])
        .arg(script)
        .arg(format!("http://{address}/"))
        .stderr(Stdio::inherit())
        .output()
        .expect("wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "wrk failed: {text}");
    // wrk counts 4xx and 5xx as `Non-2xx or 3xx responses`.
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "not every request was answered 302:\n{text}"
    );
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    (requests.unwrap_or_else(|| panic!("no count in:\n{text}")), seconds as f64)
}
