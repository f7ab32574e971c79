//! Lines: each fault is what it says, and is over when it is healed.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use slipway_integration_tests::line::Line;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Nothing came for this long: nothing comes.
const SILENCE: Duration = Duration::from_millis(200);
/// What is to come comes within this.
const SOON: Duration = Duration::from_secs(5);

/// A server that answers what it is sent, and tells what that was.
async fn echo() -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(length) = connection.read(&mut buffer).await {
                    drop(tell.send(buffer[..length].to_vec()));
                    if length == 0 || connection.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

async fn read(connection: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(SOON, connection.read(&mut buffer)).await.expect("something comes")?;
    buffer.truncate(length);
    Ok(buffer)
}

async fn is_silent(connection: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, connection.read_u8()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_resets_and_refuses() {
    let (server, _told) = echo().await;
    let line = Line::start(server).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    client.write_all(b"one").await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"one");
    assert_eq!(line.connections(), 1);

    line.cut().await.unwrap();
    assert_eq!(read(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(line.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    line.heal().await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    client.write_all(b"two").await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"two");

    line.reset_connections().await.unwrap();
    assert_eq!(read(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    client.write_all(b"three").await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"three");
    client.shutdown().await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"", "an end is passed on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_holds_everything_back() {
    let (server, mut told) = echo().await;
    let line = Line::start(server).await.unwrap();
    let mut old = TcpStream::connect(line.address()).await.unwrap();
    old.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut old).await.unwrap(), b"before");
    assert_eq!(told.recv().await.unwrap(), b"before");

    line.blackhole();
    let mut new = TcpStream::connect(line.address()).await.expect("it is accepted");
    old.write_all(b"during").await.unwrap();
    new.write_all(b"during").await.unwrap();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    assert!(told.try_recv().is_err(), "the server heard something");

    line.heal().await.unwrap();
    assert_eq!(read(&mut old).await.unwrap(), b"during");
    assert_eq!(read(&mut new).await.unwrap(), b"during");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_alone_are_held_back() {
    let (server, mut told) = echo().await;
    let line = Line::start(server).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    line.blackhole_answers();
    client.write_all(b"heard").await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, told.recv()).await.unwrap().unwrap(), b"heard");
    assert!(is_silent(&mut client).await);

    line.heal().await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"heard");
    line.blackhole_answers();
    client.write_all(b"lost").await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, told.recv()).await.unwrap().unwrap(), b"lost");
    line.cut().await.unwrap();
    line.heal().await.unwrap();
    assert!(read(&mut client).await.is_err(), "an answer that was lost came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_slow_and_complete() {
    let (server, _told) = echo().await;
    let line = Line::start(server).await.unwrap();
    let mut client = TcpStream::connect(line.address()).await.unwrap();
    line.slow(20_000, Duration::from_millis(100));
    let begun = Instant::now();
    let sent: Vec<u8> = (0..10_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    client.write_all(&sent).await.unwrap();
    let mut got = vec![0; sent.len()];
    tokio::time::timeout(SOON, client.read_exact(&mut got)).await.unwrap().unwrap();
    assert!(got == sent, "other bytes came than were sent");
    // Half a second for the bytes, a tenth each way.
    assert!(begun.elapsed() >= Duration::from_millis(690), "{:?}", begun.elapsed());
    line.heal().await.unwrap();
    let begun = Instant::now();
    client.write_all(b"fast").await.unwrap();
    assert_eq!(read(&mut client).await.unwrap(), b"fast");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_line_accepts_and_says_nothing() {
    let (server, mut told) = echo().await;
    let line = Line::start(server).await.unwrap();
    let mut old = TcpStream::connect(line.address()).await.unwrap();
    old.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut old).await.unwrap(), b"before");
    assert_eq!(told.recv().await.unwrap(), b"before");
    line.accept_and_stay_silent().await.unwrap();
    assert!(read(&mut old).await.is_err());
    let mut new = TcpStream::connect(line.address()).await.expect("it is accepted");
    new.write_all(b"hello").await.unwrap();
    assert!(is_silent(&mut new).await);
    line.heal().await.unwrap();
    assert!(read(&mut new).await.is_err(), "a connection that was never made is alive");
    let heard: Vec<Vec<u8>> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert!(heard.iter().all(Vec::is_empty), "the server heard {heard:?}");
}
