//! Redis: a server under load, with a forked child that saves, a thread that frees, and a restart.

use std::net::{Ipv4Addr, TcpStream};

use hz3_programs::{Failure, Process, Result, Site, compare, free_port, input};

/// Commands for `redis-cli --pipe`: every type of value, values that grow, and many that go again.
fn load() -> Vec<u8> {
    let mut random = input::Random::new(21);
    let mut stream = Vec::new();
    let mut send = |command: &str, key: String, rest: &[String]| {
        stream.extend(format!("*{}\r\n", rest.len() + 2).bytes());
        for part in [command, &key].into_iter().chain(rest.iter().map(String::as_str)) {
            stream.extend(format!("${}\r\n{part}\r\n", part.len()).bytes());
        }
    };
    for i in 0..30_000u64 {
        let small = input::word(&mut random);
        let length = random.index(2000);
        send("SET", format!("string:{i}"), &["x".repeat(length)]);
        send("APPEND", format!("string:{}", random.below(3000)), &[small.repeat(20)]);
        send("HSET", format!("hash:{}", i % 300), &[format!("{small}{i}"), i.to_string()]);
        send("ZADD", format!("sorted:{}", i % 100), &[random.below(1 << 30).to_string(), small]);
        send("LPUSH", format!("list:{}", i % 50), &["y".repeat(length / 4)]);
        send("SADD", format!("set:{}", i % 70), &[random.below(100_000).to_string()]);
        if i % 3 == 0 {
            send("UNLINK", format!("string:{}", random.below(i + 1)), &[]);
        }
    }
    stream
}

struct Server<'site> {
    site: &'site Site,
    process: Process<'site>,
    port: String,
}

impl<'site> Server<'site> {
    fn start(site: &'site Site) -> Result<Self> {
        let port = free_port()?;
        let text = port.to_string();
        let options = [
            ["--port", &text],
            ["--bind", "127.0.0.1"],
            ["--save", ""],
            ["--dbfilename", "dump.rdb"],
            ["--enable-debug-command", "local"],
            ["--io-threads", "2"],
            ["--lazyfree-lazy-user-del", "yes"],
        ];
        let mut process = site.run("redis-server")?.args(options.concat()).start()?;
        process
            .wait_until("listening", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        let mut server = Self { site, process, port: text };
        server.wait_for("loading:0")?;
        site.prove_mapped(server.process.id())?;
        Ok(server)
    }

    fn ask(&self, command: &[&str]) -> Result<String> {
        let run = self.site.run("redis-cli")?.args(["-e", "-p", &self.port]);
        run.args(command).output()?.text()
    }

    /// Waits until `INFO` shows this line.
    fn wait_for(&mut self, line: &str) -> Result {
        let (site, port) = (self.site, self.port.clone());
        self.process.wait_until(line, || {
            let run = site.run("redis-cli").map(|run| run.args(["-e", "-p", &port, "INFO"]));
            let text = run.and_then(|run| run.output()?.text());
            text.is_ok_and(|text| text.lines().any(|found| found == line))
        })
    }

    /// How many keys there are and a digest of all that they hold.
    fn state(&self) -> Result<String> {
        Ok(self.ask(&["DBSIZE"])? + &self.ask(&["DEBUG", "DIGEST"])?)
    }

    fn stop(self) -> Result {
        self.ask(&["SHUTDOWN", "NOSAVE"])?;
        self.process.finish().map(drop)
    }
}

#[test]
fn a_server_under_load_saves_and_comes_back_with_the_same_data() -> Result {
    compare("redis", 5, |site| {
        site.write("load", load())?;
        let mut server = Server::start(site)?;
        site.run("redis-cli")?.args(["-p", &server.port, "--pipe"]).stdin("load")?.output()?;
        let tests = "set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,lrange_100,mset";
        let benchmark = ["-t", tests, "-n", "30000", "-c", "50", "-P", "10", "-d", "700", "-q"];
        site.run("redis-benchmark")?.args(["-p", &server.port]).args(benchmark).output()?;
        // A base that a background thread frees, while a forked child saves the other.
        server.ask(&["-n", "1", "DEBUG", "POPULATE", "60000", "gone", "100"])?;
        server.ask(&["BGSAVE"])?;
        server.ask(&["-n", "1", "FLUSHDB", "ASYNC"])?;
        server.wait_for("rdb_bgsave_in_progress:0")?;
        server.wait_for("rdb_last_bgsave_status:ok")?;
        server.wait_for("lazyfree_pending_objects:0")?;
        let before = server.state()?;
        server.ask(&["SAVE"])?;
        server.stop()?;

        let server = Server::start(site)?;
        let after = server.state()?;
        server.stop()?;
        if before != after {
            return Err(Failure::new(format!("before the restart {before}, after it {after}")));
        }
        Ok(after.into_bytes())
    })
}
