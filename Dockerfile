# One image for every part of Pythia; the command says which part a container is.

FROM python:3.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/pythia
COPY requirements.lock pyproject.toml setup.py README.md ./
COPY predictor predictor
COPY scheduler scheduler
COPY workers workers
COPY migrations migrations
COPY datasets datasets
# the lock constrains, the package chooses: what only development needs stays out of the image
RUN /opt/pythia/bin/pip install --no-cache-dir --disable-pip-version-check --constraint requirements.lock .

FROM python:3.12-slim-bookworm
# the OpenMP runtime that LightGBM is linked with
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/pythia pythia \
    # a volume that is mounted here takes its owner from this directory
    && install --directory --owner pythia --mode 0700 /var/lib/pythia/keys
COPY --from=build /opt/pythia /opt/pythia
ENV PATH=/opt/pythia/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHIA_DATA_DIR=/var/lib/pythia
USER pythia
WORKDIR /var/lib/pythia
EXPOSE 8321
CMD ["pythia", "--help"]
