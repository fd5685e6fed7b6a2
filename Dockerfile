# One image, several commands: kitae api | worker | beat | migrate | emulator.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kitae
WORKDIR /src
# what changes seldom first: the dependencies are a layer of their own, every file checked against its hash
COPY requirements.lock requirements-build.lock ./
RUN python -m pip install --require-hashes -r requirements-build.lock \
 && /opt/kitae/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY worker worker
COPY emulator emulator
COPY migrations migrations
COPY examples examples
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheel . \
 && /opt/kitae/bin/python -m pip install --no-deps --no-index --find-links /wheel kitae

FROM python:3.11-slim
# 10001: a number outside every distribution's range, so that no account of the host is meant by accident
RUN groupadd --gid 10001 kitae \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/kitae --no-create-home --shell /usr/sbin/nologin kitae \
 && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/kitae
COPY --from=build /opt/kitae /opt/kitae
ENV PATH=/opt/kitae/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KITAE_DATA_DIR=/var/lib/kitae \
    KITAE_HOST=0.0.0.0 \
    EMULATOR_HOST=0.0.0.0 \
    EMULATOR_CACHE=/var/lib/kitae/emulator-cache
USER 10001:10001
# not the home of .env files: settings come from the environment only
WORKDIR /var/lib/kitae
VOLUME /var/lib/kitae
EXPOSE 8000
# for `api`, the default; what answers no HTTP switches it off
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=3)"]
ENTRYPOINT ["kitae"]
CMD ["api"]
