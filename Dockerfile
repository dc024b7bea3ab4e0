# docker build -t dcom-sensor .
# docker run --rm --network host --cap-drop ALL --cap-add NET_RAW --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID \
#     --cap-add CHOWN -v /var/log/dcom-sensor:/var/log/dcom-sensor dcom-sensor live -i eth1
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libpcap-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libpcap0.8 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home dcom-sensor
COPY --from=build /source/target/release/dcom-sensor /usr/bin/dcom-sensor
ENTRYPOINT ["dcom-sensor"]
