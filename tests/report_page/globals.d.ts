// What the page's script finds beside itself (tsc -p tests/report_page): the part of dagre that it calls.
interface DagreGraph {
  setGraph(options: object): void;
  setDefaultEdgeLabel(make: () => object): void;
  setNode(key: string, size: { width: number; height: number }): void;
  setEdge(from: string, to: string): void;
  graph(): { width: number; height: number };
  node(key: string): { x: number; y: number };
  edge(from: string, to: string): { points: { x: number; y: number }[] };
}

declare const dagre: { graphlib: { Graph: new () => DagreGraph }; layout(graph: DagreGraph): void };
