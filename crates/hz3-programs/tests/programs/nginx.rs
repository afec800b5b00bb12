//! nginx: workers with threads serve files, plain and compressed, to hundreds of open connections.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::thread;

use hz3_programs::{Failure, Result, Signal, Site, compare, free_port, input};

/// Threads of the client, and connections that each holds open at once.
const CLIENTS: u64 = 12;
const CONNECTIONS: u64 = 20;

const FILES: [(&str, usize); 6] = [
    ("tiny.txt", 17),
    ("page.html", 9_000),
    ("text.txt", 120_000),
    ("list.txt", 700_000),
    ("noise.bin", 400_001),
    ("large.bin", 3_000_000),
];

/// The files whose bytes don't compress are those that nginx is told not to compress.
fn is_noise(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "bin")
}

fn configuration(port: u16) -> String {
    format!(
        "daemon off; worker_processes 2; pid nginx.pid; error_log stderr notice; user root;
         thread_pool files threads=4;
         events {{ worker_connections 600; }}
         http {{
           types {{ text/plain txt; text/html html; application/octet-stream bin; }}
           access_log access.log;
           client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
           uwsgi_temp_path t4; scgi_temp_path t5;
           sendfile off; aio threads=files; output_buffers 4 64k;
           gzip on; gzip_http_version 1.0; gzip_min_length 1; gzip_types text/plain;
           gzip_comp_level 3;
           server {{ listen 127.0.0.1:{port} backlog=600; root files; }}
         }}\n"
    )
}

fn ask(port: u16, file: &str, packed: bool) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let accept = if packed { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET /{file} HTTP/1.0\r\nHost: localhost\r\n{accept}\r\n")?;
    Ok(stream)
}

/// The body of a successful answer and whether it is compressed.
fn answer(mut stream: TcpStream) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| Failure::new("an answer without the end of its headers"))?;
    let body = bytes.split_off(end + 4);
    let headers = String::from_utf8(bytes)?;
    if headers.starts_with("HTTP/1.1 200") {
        Ok((body, headers.contains("Content-Encoding: gzip")))
    } else {
        Err(Failure::new(headers))
    }
}

/// Opens many connections, then reads them all: what came, as lines that don't depend on the order.
fn client(files: &Path, port: u16, seed: u64) -> Result<BTreeSet<String>> {
    let mut random = input::Random::new(seed);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let (file, _) = FILES[random.index(FILES.len())];
        let packed = random.below(2) == 0;
        open.push((file, packed, ask(port, file, packed)?));
    }
    let mut seen = BTreeSet::new();
    for (file, packed, stream) in open {
        let (body, compressed) = answer(stream)?;
        if compressed != (packed && !is_noise(file)) {
            return Err(Failure::new(format!("{file}: compressed {compressed}, asked {packed}")));
        }
        if !compressed && body != fs::read(files.join(file))? {
            return Err(Failure::new(format!("{file}: other bytes than the file has")));
        }
        let hash = body
            .iter()
            .fold(0u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        seen.insert(format!("{file} {compressed} {} {hash:x}", body.len()));
    }
    Ok(seen)
}

/// All clients at once.
fn burst(site: &Site, port: u16, round: u64) -> Result<BTreeSet<String>> {
    let files = site.path("files");
    let files = files.as_path();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(files, port, round * CLIENTS + number + 1)))
            .collect();
        let mut seen = BTreeSet::new();
        for client in clients {
            let result = client.join().map_err(|_| Failure::new("a client thread panicked"))?;
            seen.append(&mut result?);
        }
        Ok(seen)
    })
}

#[test]
fn workers_serve_hundreds_of_connections_and_a_reload() -> Result {
    // The master, two workers, and two more after the reload.
    compare("nginx", 5, |site| {
        for (number, (file, length)) in (0u64..).zip(FILES) {
            let noise = is_noise(file).then(|| input::noise(number + 1, length));
            let body = noise.unwrap_or_else(|| input::text(number + 1, length).into_bytes());
            site.write(&format!("files/{file}"), body)?;
        }
        let port = free_port()?;
        site.write("nginx.conf", configuration(port))?;
        let run = site.run("nginx")?.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
        let mut server = run.arg(site.path("")).start()?;
        server
            .wait_until("listening", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        site.prove_mapped(server.id())?;
        let mut seen = BTreeSet::new();
        for round in 0..3 {
            seen.append(&mut burst(site, port, round)?);
        }
        server.signal(Signal::Hangup)?;
        seen.append(&mut burst(site, port, 3)?);
        server.signal(Signal::Quit)?;
        server.finish()?;
        Ok(seen.into_iter().collect::<Vec<_>>().join("\n").into_bytes())
    })
}
