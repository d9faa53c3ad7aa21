"""A stand-in Dify instance: raw HTTP/1.1 on asyncio, so that every fault is possible byte by byte."""
